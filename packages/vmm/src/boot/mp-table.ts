import type { GuestMemory } from "@supermachine/virtio";
import { defineStruct } from "@supermachine-internal/struct";
import { VmmError } from "../errors.js";
import { EBDA_ADDRESS, IO_APIC_ADDRESS, LAST_GSI, LOCAL_APIC_ADDRESS } from "../memory-map.js";

/*
 * The MultiProcessor Specification 1.4 tables: the smallest description of several CPUs and their
 * interrupt wiring that Linux takes, without ACPI.
 */

const floatingPointer = defineStruct("mpf_intel", 16, {
  signature: { bytes: 4 },
  physptr: "u32",
  length: "u8",
  specification: "u8",
  checksum: "u8",
  feature1: "u8",
  feature2: "u8",
  feature345: { bytes: 3 },
});

const configurationTable = defineStruct("mpc_table", 44, {
  signature: { bytes: 4 },
  length: "u16",
  spec: "u8",
  checksum: "u8",
  oem: { bytes: 8 },
  productid: { bytes: 12 },
  oemptr: "u32",
  oemsize: "u16",
  oemcount: "u16",
  lapic: "u32",
  reserved: "u32",
});

const processorEntry = defineStruct("mpc_cpu", 20, {
  type: "u8",
  apicid: "u8",
  apicver: "u8",
  cpuflag: "u8",
  cpufeature: "u32",
  featureflag: "u32",
  reserved: "u64",
});

const busEntry = defineStruct("mpc_bus", 8, { type: "u8", busid: "u8", bustype: { bytes: 6 } });

const ioApicEntry = defineStruct("mpc_ioapic", 8, {
  type: "u8",
  apicid: "u8",
  apicver: "u8",
  flags: "u8",
  apicaddr: "u32",
});

/** Both `mpc_intsrc` and `mpc_lintsrc`. */
const interruptEntry = defineStruct("mpc_intsrc", 8, {
  type: "u8",
  irqtype: "u8",
  irqflag: "u16",
  srcbus: "u8",
  srcbusirq: "u8",
  dstapic: "u8",
  dstirq: "u8",
});

const MP_PROCESSOR = 0;
const MP_BUS = 1;
const MP_IOAPIC = 2;
const MP_INTSRC = 3;
const MP_LINTSRC = 4;
const SPECIFICATION_1_4 = 4;
const CPU_ENABLED = 1;
const CPU_BOOTPROCESSOR = 2;
const IO_APIC_USABLE = 1;
const APIC_VERSION = 0x14;
const INTERRUPT_VECTORED = 0;
const INTERRUPT_NMI = 1;
const INTERRUPT_EXTINT = 3;
const ALL_LOCAL_APICS = 0xff;

const ascii = (text: string, length: number) => Buffer.from(text.padEnd(length), "latin1");

/** The value that makes all bytes of the table add up to zero. */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum += byte;
  return -sum & 0xff;
}

/** The tables for `cpus` processors with APIC ids 0 to cpus - 1, floating pointer first. */
export function buildMpTable(cpus: number, address: number): Uint8Array {
  const ioApicId = cpus;
  const entries: Uint8Array[] = [];
  const add = <T>(
    struct: { size: number; encode(value: T, bytes: Uint8Array): number },
    value: T,
  ): void => {
    const bytes = new Uint8Array(struct.size);
    struct.encode(value, bytes);
    entries.push(bytes);
  };

  for (let cpu = 0; cpu < cpus; cpu++) {
    add(processorEntry, {
      type: MP_PROCESSOR,
      apicid: cpu,
      apicver: APIC_VERSION,
      cpuflag: CPU_ENABLED | (cpu === 0 ? CPU_BOOTPROCESSOR : 0),
      // Family 6 with an FPU and a local APIC: what the specification asks for; Linux reads CPUID.
      cpufeature: 0x600,
      featureflag: 0x201,
      reserved: 0n,
    });
  }
  add(busEntry, { type: MP_BUS, busid: 0, bustype: ascii("ISA", 6) });
  add(ioApicEntry, {
    type: MP_IOAPIC,
    apicid: ioApicId,
    apicver: APIC_VERSION,
    flags: IO_APIC_USABLE,
    apicaddr: IO_APIC_ADDRESS,
  });
  const interrupt = (type: number, irqtype: number, irq: number, dstapic: number, dstirq: number) =>
    add(interruptEntry, { type, irqtype, irqflag: 0, srcbus: 0, srcbusirq: irq, dstapic, dstirq });
  // Each GSI is wired to the I/O APIC pin of its number.
  for (let gsi = 0; gsi <= LAST_GSI; gsi++) {
    interrupt(MP_INTSRC, INTERRUPT_VECTORED, gsi, ioApicId, gsi);
  }
  interrupt(MP_LINTSRC, INTERRUPT_EXTINT, 0, 0, 0);
  interrupt(MP_LINTSRC, INTERRUPT_NMI, 0, ALL_LOCAL_APICS, 1);

  const body = Buffer.concat(entries);
  const table = Buffer.alloc(configurationTable.size + body.length);
  configurationTable.encode(
    {
      signature: ascii("PCMP", 4),
      length: table.length,
      spec: SPECIFICATION_1_4,
      checksum: 0,
      oem: ascii("SUPERMCH", 8),
      productid: ascii("MICROVM", 12),
      oemptr: 0,
      oemsize: 0,
      oemcount: entries.length,
      lapic: LOCAL_APIC_ADDRESS,
      reserved: 0,
    },
    table,
  );
  body.copy(table, configurationTable.size);
  table[configurationTable.offsets.checksum] = checksum(table);

  const pointer = Buffer.alloc(floatingPointer.size);
  floatingPointer.encode(
    {
      signature: ascii("_MP_", 4),
      physptr: address + pointer.length,
      length: 1,
      specification: SPECIFICATION_1_4,
      checksum: 0,
      feature1: 0,
      feature2: 0,
      feature345: new Uint8Array(3),
    },
    pointer,
  );
  pointer[floatingPointer.offsets.checksum] = checksum(pointer);
  return Buffer.concat([pointer, table]);
}

/** Writes the MP tables where Linux looks for them: in the last KiB of conventional memory. */
export function writeMpTable(memory: GuestMemory, cpus: number): void {
  const table = buildMpTable(cpus, EBDA_ADDRESS);
  const target = memory.slice(EBDA_ADDRESS, table.length);
  if (target === undefined || table.length > 1024) {
    throw new VmmError("ERR_VMM_OPTION", `no room for the MP tables of ${cpus} vCPUs`);
  }
  target.set(table);
}
