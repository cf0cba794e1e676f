import type {
  X86DescriptorTable,
  X86Registers,
  X86Segment,
  X86SpecialRegisters,
} from "@supermachine/hypervisor";
import { kvm_dtable, kvm_regs, kvm_segment, kvm_sregs } from "../abi-x86.js";

/** Reads a `kvm_regs`. The seam's names are the kernel's. */
export function decodeRegisters(bytes: Uint8Array): X86Registers {
  return kvm_regs.decode(bytes);
}

/** Writes a `kvm_regs`. */
export function encodeRegisters(registers: X86Registers): Uint8Array {
  const bytes = Buffer.alloc(kvm_regs.size);
  kvm_regs.encode(registers, bytes);
  return bytes;
}

const segments = ["cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt"] as const;

function decodeSegment(bytes: Uint8Array, offset: number): X86Segment {
  const { padding: _, ...segment } = kvm_segment.decode(bytes, offset);
  return segment;
}

function encodeSegment(segment: X86Segment): Uint8Array {
  const bytes = Buffer.alloc(kvm_segment.size);
  kvm_segment.encode({ ...segment, padding: 0 }, bytes);
  return bytes;
}

function decodeTable(bytes: Uint8Array, offset: number): X86DescriptorTable {
  const { base, limit } = kvm_dtable.decode(bytes, offset);
  return { base, limit };
}

function encodeTable(table: X86DescriptorTable): Uint8Array {
  const bytes = Buffer.alloc(kvm_dtable.size);
  kvm_dtable.encode({ ...table, padding: new Uint8Array(6) }, bytes);
  return bytes;
}

/** Reads a `kvm_sregs`. */
export function decodeSpecialRegisters(bytes: Uint8Array): X86SpecialRegisters {
  const { offsets } = kvm_sregs;
  const { cr0, cr2, cr3, cr4, cr8, efer, apic_base, interrupt_bitmap } = kvm_sregs.decode(bytes);
  const segment = (name: (typeof segments)[number]) => decodeSegment(bytes, offsets[name]);
  return {
    cs: segment("cs"),
    ds: segment("ds"),
    es: segment("es"),
    fs: segment("fs"),
    gs: segment("gs"),
    ss: segment("ss"),
    tr: segment("tr"),
    ldt: segment("ldt"),
    gdt: decodeTable(bytes, offsets.gdt),
    idt: decodeTable(bytes, offsets.idt),
    cr0,
    cr2,
    cr3,
    cr4,
    cr8,
    efer,
    apicBase: apic_base,
    interruptBitmap: interrupt_bitmap,
  };
}

/** Writes a `kvm_sregs`. */
export function encodeSpecialRegisters(registers: X86SpecialRegisters): Uint8Array {
  const { apicBase, interruptBitmap, gdt, idt, cr0, cr2, cr3, cr4, cr8, efer } = registers;
  const bytes = Buffer.alloc(kvm_sregs.size);
  kvm_sregs.encode(
    {
      cs: encodeSegment(registers.cs),
      ds: encodeSegment(registers.ds),
      es: encodeSegment(registers.es),
      fs: encodeSegment(registers.fs),
      gs: encodeSegment(registers.gs),
      ss: encodeSegment(registers.ss),
      tr: encodeSegment(registers.tr),
      ldt: encodeSegment(registers.ldt),
      gdt: encodeTable(gdt),
      idt: encodeTable(idt),
      cr0,
      cr2,
      cr3,
      cr4,
      cr8,
      efer,
      apic_base: apicBase,
      interrupt_bitmap: interruptBitmap,
    },
    bytes,
  );
  return bytes;
}
