import type { GuestMemory } from "@supermachine/virtio";
import { defineStruct } from "@supermachine-internal/struct";
import {
  KEYBOARD_CONTROLLER_PORT,
  PULSE_RESET_LINE,
  SLEEP_CONTROL_PORT,
  SLEEP_STATUS_PORT,
} from "../../device/power.js";
import { VmmError } from "../../errors.js";
import {
  ACPI_ADDRESS,
  GENERATION_ID_ADDRESS,
  IO_APIC_ADDRESS,
  LOCAL_APIC_ADDRESS,
} from "../../memory-map.js";
import { buildDefinitionBlock, type MmioWindow } from "./dsdt.js";

/*
 * The tables of ACPI 6.4, chapter 5, for hardware-reduced ACPI (section 4.1): no timer, interrupt and
 * registers of a PC's power management, none of which a virtual machine has a use for.
 */

const rsdp = defineStruct("acpi_table_rsdp", 36, {
  signature: { bytes: 8 },
  checksum: "u8",
  oem_id: { bytes: 6 },
  revision: "u8",
  rsdt_physical_address: "u32",
  length: "u32",
  xsdt_physical_address: "u64",
  extended_checksum: "u8",
  reserved: { bytes: 3 },
});

const header = defineStruct("acpi_table_header", 36, {
  signature: { bytes: 4 },
  length: "u32",
  revision: "u8",
  checksum: "u8",
  oem_id: { bytes: 6 },
  oem_table_id: { bytes: 8 },
  oem_revision: "u32",
  asl_compiler_id: { bytes: 4 },
  asl_compiler_revision: "u32",
});

/** The FADT behind its header. What hardware-reduced ACPI ignores is one field. */
const fixedDescription = defineStruct("acpi_table_fadt", 240, {
  facs: "u32",
  dsdt: "u32",
  fixed_hardware: { bytes: 65 },
  boot_flags: "u16",
  reserved: "u8",
  flags: "u32",
  reset_register: { bytes: 12 },
  reset_value: "u8",
  arm_boot_flags: "u16",
  minor_revision: "u8",
  Xfacs: "u64",
  Xdsdt: "u64",
  fixed_hardware_blocks: { bytes: 96 },
  sleep_control: { bytes: 12 },
  sleep_status: { bytes: 12 },
  hypervisor_id: "u64",
});

const genericAddress = defineStruct("acpi_generic_address", 12, {
  space_id: "u8",
  bit_width: "u8",
  bit_offset: "u8",
  access_width: "u8",
  address: "u64",
});

const madt = defineStruct("acpi_table_madt", 8, { address: "u32", flags: "u32" });

const madtLocalApic = defineStruct("acpi_madt_local_apic", 8, {
  type: "u8",
  length: "u8",
  processor_id: "u8",
  id: "u8",
  lapic_flags: "u32",
});

const madtIoApic = defineStruct("acpi_madt_io_apic", 12, {
  type: "u8",
  length: "u8",
  id: "u8",
  reserved: "u8",
  address: "u32",
  global_irq_base: "u32",
});

const madtLocalApicNmi = defineStruct("acpi_madt_local_apic_nmi", 6, {
  type: "u8",
  length: "u8",
  processor_id: "u8",
  inti_flags: "u16",
  lint: "u8",
});

const MADT_LOCAL_APIC = 0;
const MADT_IO_APIC = 1;
const MADT_LOCAL_APIC_NMI = 4;
const LOCAL_APIC_ENABLED = 1;
const ALL_PROCESSORS = 0xff;
const NMI_LINT = 1;

const SYSTEM_IO = 1;
const BYTE_ACCESS = 1;
const NO_VGA = 1 << 2;
const NO_CMOS_RTC = 1 << 5;
const WBINVD_WORKS = 1 << 0;
const RESET_REGISTER_SUPPORTED = 1 << 10;
const HARDWARE_REDUCED = 1 << 20;

const OEM_ID = ascii("SUPERM", 6);
const OEM_TABLE_ID = ascii("MICROVM", 8);

interface Struct<T> {
  readonly size: number;
  encode(value: T, bytes: Uint8Array): number;
}

function encode<T>(struct: Struct<T>, value: T): Uint8Array {
  const bytes = new Uint8Array(struct.size);
  struct.encode(value, bytes);
  return bytes;
}

function ascii(text: string, length: number): Uint8Array {
  return Buffer.from(text.padEnd(length), "latin1");
}

/** The value that makes all bytes add up to zero. */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum += byte;
  return -sum & 0xff;
}

function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const head = encode(header, {
    signature: ascii(signature, 4),
    length: header.size + body.length,
    revision,
    checksum: 0,
    oem_id: OEM_ID,
    oem_table_id: OEM_TABLE_ID,
    oem_revision: 1,
    asl_compiler_id: ascii("SUPM", 4),
    asl_compiler_revision: 1,
  });
  const bytes = Buffer.concat([head, body]);
  bytes[header.offsets.checksum] = checksum(bytes);
  return bytes;
}

function port(address: number): Uint8Array {
  return encode(genericAddress, {
    space_id: SYSTEM_IO,
    bit_width: 8,
    bit_offset: 0,
    access_width: BYTE_ACCESS,
    address: BigInt(address),
  });
}

function fadt(dsdtAddress: number): Uint8Array {
  const body = encode(fixedDescription, {
    facs: 0,
    dsdt: 0,
    fixed_hardware: new Uint8Array(65),
    boot_flags: NO_VGA | NO_CMOS_RTC,
    reserved: 0,
    flags: HARDWARE_REDUCED | RESET_REGISTER_SUPPORTED | WBINVD_WORKS,
    reset_register: port(KEYBOARD_CONTROLLER_PORT),
    reset_value: PULSE_RESET_LINE,
    arm_boot_flags: 0,
    minor_revision: 4,
    Xfacs: 0n,
    Xdsdt: BigInt(dsdtAddress),
    fixed_hardware_blocks: new Uint8Array(96),
    sleep_control: port(SLEEP_CONTROL_PORT),
    sleep_status: port(SLEEP_STATUS_PORT),
    hypervisor_id: 0n,
  });
  return table("FACP", 6, body);
}

/** Processors with APIC ids 0 to cpus - 1, and an I/O APIC whose pins are the global system interrupts. */
function interruptControllers(cpus: number): Uint8Array {
  const processors = Array.from({ length: cpus }, (_, cpu) =>
    encode(madtLocalApic, {
      type: MADT_LOCAL_APIC,
      length: madtLocalApic.size,
      processor_id: cpu,
      id: cpu,
      lapic_flags: LOCAL_APIC_ENABLED,
    }),
  );
  const ioApic = encode(madtIoApic, {
    type: MADT_IO_APIC,
    length: madtIoApic.size,
    id: cpus,
    reserved: 0,
    address: IO_APIC_ADDRESS,
    global_irq_base: 0,
  });
  const nmi = encode(madtLocalApicNmi, {
    type: MADT_LOCAL_APIC_NMI,
    length: madtLocalApicNmi.size,
    processor_id: ALL_PROCESSORS,
    inti_flags: 0,
    lint: NMI_LINT,
  });
  const controller = encode(madt, { address: LOCAL_APIC_ADDRESS, flags: 0 });
  return table("APIC", 5, Buffer.concat([controller, ...processors, ioApic, nmi]));
}

/** The tables as they lie in memory from `address` on, the root pointer first. */
export function buildAcpiTables(
  cpus: number,
  devices: readonly MmioWindow[],
  address: number,
): Uint8Array {
  const parts: Uint8Array[] = [];
  let next = address + rsdp.size;
  const place = (bytes: Uint8Array): number => {
    // Aligned as the C compilers of operating systems expect it.
    const padding = new Uint8Array(-next & 7);
    const at = next + padding.length;
    parts.push(padding, bytes);
    next = at + bytes.length;
    return at;
  };
  const dsdt = place(table("DSDT", 2, buildDefinitionBlock(devices)));
  const tables = [place(fadt(dsdt)), place(interruptControllers(cpus))];
  const entries = Buffer.alloc(8 * tables.length);
  tables.forEach((at, index) => {
    entries.writeBigUInt64LE(BigInt(at), 8 * index);
  });
  const xsdt = place(table("XSDT", 1, entries));

  const root = encode(rsdp, {
    signature: ascii("RSD PTR ", 8),
    checksum: 0,
    oem_id: OEM_ID,
    revision: 2,
    rsdt_physical_address: 0,
    length: rsdp.size,
    xsdt_physical_address: BigInt(xsdt),
    extended_checksum: 0,
    reserved: new Uint8Array(3),
  });
  // The first is of the 20 bytes that version 1 had.
  root[rsdp.offsets.checksum] = checksum(root.subarray(0, 20));
  root[rsdp.offsets.extended_checksum] = checksum(root);
  return Buffer.concat([root, ...parts]);
}

/** Writes the tables where Linux is told to look for them. */
export function writeAcpiTables(
  memory: GuestMemory,
  cpus: number,
  devices: readonly MmioWindow[],
): void {
  const bytes = buildAcpiTables(cpus, devices, ACPI_ADDRESS);
  const target = memory.slice(ACPI_ADDRESS, bytes.length);
  if (target === undefined || ACPI_ADDRESS + bytes.length > GENERATION_ID_ADDRESS) {
    throw new VmmError("ERR_VMM_OPTION", `no room for the ACPI tables of ${cpus} vCPUs`);
  }
  target.set(bytes);
}
