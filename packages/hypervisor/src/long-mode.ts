import type { X86Segment, X86Vcpu } from "./x86.js";

const PRESENT_WRITABLE = 0x03n;
const LARGE_PAGE = 0x80n;
const CR0_PE_ET_NE_WP_PG = 0x8001_0031n;
const CR4_PAE = 0x20n;
const EFER_LME_LMA = 0x500n;

const code: X86Segment = {
  base: 0n,
  limit: 0xffff_ffff,
  selector: 0x08,
  type: 11,
  present: 1,
  dpl: 0,
  db: 0,
  s: 1,
  l: 1,
  g: 1,
  avl: 0,
  unusable: 0,
};
const data: X86Segment = { ...code, selector: 0x10, type: 3, db: 1, l: 0 };

/**
 * Puts a vCPU into 64-bit mode with the first GiB mapped to itself in 2 MiB pages. The page tables
 * take 12 KiB of guest memory at `tables`, a page-aligned guest address; `memory` starts at address 0.
 */
export function enterLongMode(vcpu: X86Vcpu, memory: ArrayBuffer, tables: number): void {
  const view = new DataView(memory);
  const [pml4, pdpt, pd] = [tables, tables + 0x1000, tables + 0x2000];
  view.setBigUint64(pml4, BigInt(pdpt) | PRESENT_WRITABLE, true);
  view.setBigUint64(pdpt, BigInt(pd) | PRESENT_WRITABLE, true);
  for (let n = 0; n < 512; n++) {
    const page = BigInt(n) << 21n;
    view.setBigUint64(pd + 8 * n, page | PRESENT_WRITABLE | LARGE_PAGE, true);
  }
  vcpu.setSpecialRegisters({
    ...vcpu.getSpecialRegisters(),
    cs: code,
    ds: data,
    es: data,
    fs: data,
    gs: data,
    ss: data,
    cr0: CR0_PE_ET_NE_WP_PG,
    cr3: BigInt(pml4),
    cr4: CR4_PAE,
    efer: EFER_LME_LMA,
  });
}
