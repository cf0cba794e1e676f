import { defineStruct } from "@supermachine-internal/struct";

// As in abi.ts, from <asm/kvm.h>. Structs that end in a flexible array are declared without it.

export const kvm_regs = defineStruct("kvm_regs", 144, {
  rax: "u64",
  rbx: "u64",
  rcx: "u64",
  rdx: "u64",
  rsi: "u64",
  rdi: "u64",
  rsp: "u64",
  rbp: "u64",
  r8: "u64",
  r9: "u64",
  r10: "u64",
  r11: "u64",
  r12: "u64",
  r13: "u64",
  r14: "u64",
  r15: "u64",
  rip: "u64",
  rflags: "u64",
});

export const kvm_segment = defineStruct("kvm_segment", 24, {
  base: "u64",
  limit: "u32",
  selector: "u16",
  type: "u8",
  present: "u8",
  dpl: "u8",
  db: "u8",
  s: "u8",
  l: "u8",
  g: "u8",
  avl: "u8",
  unusable: "u8",
  padding: "u8",
});

export const kvm_dtable = defineStruct("kvm_dtable", 16, {
  base: "u64",
  limit: "u16",
  padding: { bytes: 6 },
});

const segment = { bytes: kvm_segment.size };
const table = { bytes: kvm_dtable.size };

export const kvm_sregs = defineStruct("kvm_sregs", 312, {
  cs: segment,
  ds: segment,
  es: segment,
  fs: segment,
  gs: segment,
  ss: segment,
  tr: segment,
  ldt: segment,
  gdt: table,
  idt: table,
  cr0: "u64",
  cr2: "u64",
  cr3: "u64",
  cr4: "u64",
  cr8: "u64",
  efer: "u64",
  apic_base: "u64",
  interrupt_bitmap: { bytes: 32 },
});

export const kvm_fpu = defineStruct("kvm_fpu", 416, {
  fpr: { bytes: 128 },
  fcw: "u16",
  fsw: "u16",
  ftwx: "u8",
  pad1: "u8",
  last_opcode: "u16",
  last_ip: "u64",
  last_dp: "u64",
  xmm: { bytes: 256 },
  mxcsr: "u32",
  pad2: "u32",
});

export const kvm_msr_entry = defineStruct("kvm_msr_entry", 16, {
  index: "u32",
  reserved: "u32",
  data: "u64",
});

export const kvm_msrs = defineStruct("kvm_msrs", 8, { nmsrs: "u32", pad: "u32" });

export const kvm_msr_list = defineStruct("kvm_msr_list", 4, { nmsrs: "u32" });

export const kvm_cpuid_entry2 = defineStruct("kvm_cpuid_entry2", 40, {
  function: "u32",
  index: "u32",
  flags: "u32",
  eax: "u32",
  ebx: "u32",
  ecx: "u32",
  edx: "u32",
  padding: { bytes: 12 },
});

export const kvm_cpuid2 = defineStruct("kvm_cpuid2", 8, { nent: "u32", padding: "u32" });

export const kvm_lapic_state = defineStruct("kvm_lapic_state", 1024, { regs: { bytes: 1024 } });

export const kvm_pit_state2 = defineStruct("kvm_pit_state2", 112, {
  channels: { bytes: 72 },
  flags: "u32",
  reserved: { bytes: 36 },
});

export const kvm_vcpu_events = defineStruct("kvm_vcpu_events", 64, {
  "exception.injected": "u8",
  "exception.nr": "u8",
  "exception.has_error_code": "u8",
  "exception.pending": "u8",
  "exception.error_code": "u32",
  "interrupt.injected": "u8",
  "interrupt.nr": "u8",
  "interrupt.soft": "u8",
  "interrupt.shadow": "u8",
  "nmi.injected": "u8",
  "nmi.pending": "u8",
  "nmi.masked": "u8",
  "nmi.pad": "u8",
  sipi_vector: "u32",
  flags: "u32",
  "smi.smm": "u8",
  "smi.pending": "u8",
  "smi.smm_inside_nmi": "u8",
  "smi.latched_init": "u8",
  "triple_fault.pending": "u8",
  reserved: { bytes: 26 },
  exception_has_payload: "u8",
  exception_payload: "u64",
});

export const kvm_debugregs = defineStruct("kvm_debugregs", 128, {
  db: { bytes: 32 },
  dr6: "u64",
  dr7: "u64",
  flags: "u64",
  reserved: { bytes: 72 },
});

export const kvm_xsave = defineStruct("kvm_xsave", 4096, { region: { bytes: 4096 } });

export const kvm_xcr = defineStruct("kvm_xcr", 16, {
  xcr: "u32",
  reserved: "u32",
  value: "u64",
});

/** `KVM_MAX_XCRS` */
export const MAX_XCRS = 16;

export const kvm_xcrs = defineStruct("kvm_xcrs", 8 + 16 * MAX_XCRS + 128, {
  nr_xcrs: "u32",
  flags: "u32",
  xcrs: { bytes: 16 * MAX_XCRS },
  padding: { bytes: 128 },
});

/** Without the state of a guest's guest, which may follow it. */
export const kvm_nested_state = defineStruct("kvm_nested_state", 128, {
  flags: "u16",
  format: "u16",
  size: "u32",
  hdr: { bytes: 120 },
});
