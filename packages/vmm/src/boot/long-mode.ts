import type { VcpuHandle, X86Segment } from "@supermachine/hypervisor";
import type { GuestMemory } from "@supermachine/virtio";
import { VmmError } from "../errors.js";
import { BOOT_STACK_ADDRESS, GDT_ADDRESS, PAGE_TABLES_ADDRESS } from "../memory-map.js";
import type { LinuxEntry } from "./linux.js";

/*
 * The processor state that the 64-bit boot protocol asks for: long mode, paging on with an identity
 * map (here of the first 4 GiB), flat segments whose selectors are the kernel's __BOOT_CS and __BOOT_DS.
 */

const BOOT_CODE_SELECTOR = 0x10;
const BOOT_DATA_SELECTOR = 0x18;
const FLAT_CODE_DESCRIPTOR = 0x00af_9b00_0000_ffffn;
const FLAT_DATA_DESCRIPTOR = 0x00cf_9300_0000_ffffn;
const GDT_ENTRIES = 4;

const PRESENT_WRITABLE = 0x3;
const LARGE_PAGE = 0x80;
const TABLE_SIZE = 4096;
const ENTRIES = 512;
const TWO_MIB = 0x20_0000;
const DIRECTORIES = 4;

const CR0_PE_MP_ET_NE_WP_AM_PG = 0x8005_0033n;
const CR4_PAE = 0x20n;
const EFER_LME_LMA = 0x500n;
const RFLAGS_RESERVED = 0x2n;

/** Writes the page tables and the GDT that {@link enterLongMode} points the processor at. */
export function writeLongModeTables(memory: GuestMemory): void {
  const tables = memory.slice(PAGE_TABLES_ADDRESS, (2 + DIRECTORIES) * TABLE_SIZE);
  const gdt = memory.slice(GDT_ADDRESS, GDT_ENTRIES * 8);
  if (tables === undefined || gdt === undefined) {
    throw new VmmError("ERR_VMM_MEMORY_TOO_SMALL", "no memory for the boot page tables");
  }
  const view = new DataView(tables.buffer, tables.byteOffset, tables.byteLength);
  // All addresses are below 4 GiB: the upper half of every entry stays zero.
  const setEntry = (table: number, entry: number, value: number) =>
    view.setUint32(table * TABLE_SIZE + entry * 8, value, true);
  const addressOf = (table: number) => PAGE_TABLES_ADDRESS + table * TABLE_SIZE;
  setEntry(0, 0, addressOf(1) | PRESENT_WRITABLE);
  for (let directory = 0; directory < DIRECTORIES; directory++) {
    setEntry(1, directory, addressOf(2 + directory) | PRESENT_WRITABLE);
    for (let entry = 0; entry < ENTRIES; entry++) {
      const page = (directory * ENTRIES + entry) * TWO_MIB;
      setEntry(2 + directory, entry, page + (LARGE_PAGE | PRESENT_WRITABLE));
    }
  }
  const descriptors = new DataView(gdt.buffer, gdt.byteOffset, gdt.byteLength);
  descriptors.setBigUint64(BOOT_CODE_SELECTOR, FLAT_CODE_DESCRIPTOR, true);
  descriptors.setBigUint64(BOOT_DATA_SELECTOR, FLAT_DATA_DESCRIPTOR, true);
}

function flatSegment(selector: number, isCode: boolean): X86Segment {
  return {
    base: 0n,
    limit: 0xffff_ffff,
    selector,
    type: isCode ? 0b1011 : 0b0011,
    present: 1,
    dpl: 0,
    db: isCode ? 0 : 1,
    s: 1,
    l: isCode ? 1 : 0,
    g: 1,
    avl: 0,
    unusable: 0,
  };
}

/** Puts the first vCPU at the kernel's 64-bit entry point. */
export function enterLongMode(vcpu: VcpuHandle, entry: LinuxEntry): void {
  const { x86 } = vcpu;
  if (x86 === undefined) {
    throw new VmmError("ERR_VMM_HYPERVISOR", "the hypervisor's vCPUs are not x86-64");
  }
  const data = flatSegment(BOOT_DATA_SELECTOR, false);
  x86.setSpecialRegisters({
    ...x86.getSpecialRegisters(),
    cs: flatSegment(BOOT_CODE_SELECTOR, true),
    ds: data,
    es: data,
    fs: data,
    gs: data,
    ss: data,
    gdt: { base: BigInt(GDT_ADDRESS), limit: GDT_ENTRIES * 8 - 1 },
    cr0: CR0_PE_MP_ET_NE_WP_AM_PG,
    cr3: BigInt(PAGE_TABLES_ADDRESS),
    cr4: CR4_PAE,
    efer: EFER_LME_LMA,
  });
  x86.setRegisters({
    ...x86.getRegisters(),
    rip: BigInt(entry.entryPoint),
    rsi: BigInt(entry.bootParams),
    rsp: BigInt(BOOT_STACK_ADDRESS),
    rflags: RFLAGS_RESERVED,
  });
}
