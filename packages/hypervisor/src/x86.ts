/** General-purpose registers. */
export interface X86Registers {
  rax: bigint;
  rbx: bigint;
  rcx: bigint;
  rdx: bigint;
  rsi: bigint;
  rdi: bigint;
  rsp: bigint;
  rbp: bigint;
  r8: bigint;
  r9: bigint;
  r10: bigint;
  r11: bigint;
  r12: bigint;
  r13: bigint;
  r14: bigint;
  r15: bigint;
  rip: bigint;
  rflags: bigint;
}

/** A segment register with its hidden part (Intel SDM volume 3, 3.4.3). Flags are 0 or 1. */
export interface X86Segment {
  base: bigint;
  limit: number;
  selector: number;
  type: number;
  present: number;
  dpl: number;
  db: number;
  s: number;
  l: number;
  g: number;
  avl: number;
  unusable: number;
}

/** GDTR or IDTR. */
export interface X86DescriptorTable {
  base: bigint;
  limit: number;
}

/** Segments, descriptor tables and control registers. */
export interface X86SpecialRegisters {
  cs: X86Segment;
  ds: X86Segment;
  es: X86Segment;
  fs: X86Segment;
  gs: X86Segment;
  ss: X86Segment;
  tr: X86Segment;
  ldt: X86Segment;
  gdt: X86DescriptorTable;
  idt: X86DescriptorTable;
  cr0: bigint;
  cr2: bigint;
  cr3: bigint;
  cr4: bigint;
  cr8: bigint;
  efer: bigint;
  apicBase: bigint;
  /** One bit for the external interrupt being delivered, if any: 32 bytes. */
  interruptBitmap: Uint8Array;
}

/** The legacy x87/SSE state. */
export interface X86Fpu {
  /** Eight 80-bit registers in 16-byte slots: 128 bytes. */
  fpr: Uint8Array;
  fcw: number;
  fsw: number;
  /** The tag word in the compressed form of FXSAVE. */
  ftwx: number;
  lastOpcode: number;
  lastIp: bigint;
  lastDp: bigint;
  /** Sixteen 128-bit registers: 256 bytes. */
  xmm: Uint8Array;
  mxcsr: number;
}

/** A model-specific register and its value. */
export interface X86Msr {
  index: number;
  value: bigint;
}

/** An extended control register and its value; 0 is XCR0. */
export interface X86Xcr {
  xcr: number;
  value: bigint;
}

/** What CPUID returns for a leaf (`function`) and sub-leaf (`index`). */
export interface X86CpuidEntry {
  function: number;
  index: number;
  /** Bit 0: `index` is significant. */
  flags: number;
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/** The hardware breakpoints. */
export interface X86DebugRegisters {
  /** DR0 to DR3. */
  db: [bigint, bigint, bigint, bigint];
  dr6: bigint;
  dr7: bigint;
}

/** Events pending on, or being injected into, a vCPU. Flags are 0 or 1. */
export interface X86VcpuEvents {
  exception: {
    injected: number;
    nr: number;
    hasErrorCode: number;
    pending: number;
    errorCode: number;
    hasPayload: number;
    payload: bigint;
  };
  interrupt: { injected: number; nr: number; soft: number; shadow: number };
  nmi: { injected: number; pending: number; masked: number };
  sipiVector: number;
  smi: { smm: number; pending: number; insideNmi: number; latchedInit: number };
  tripleFaultPending: number;
  /** Which optional groups are valid (`KVM_VCPUEVENT_VALID_*` on KVM). */
  flags: number;
}

/** Whether a vCPU runs, waits for the start-up IPI, or is halted. */
export const X86MpState = {
  RUNNABLE: 0,
  UNINITIALIZED: 1,
  INIT_RECEIVED: 2,
  HALTED: 3,
  SIPI_RECEIVED: 4,
} as const;

/** The register model of an x86-64 vCPU. All of it is cold path: objects and `bigint` are fine here. */
export interface X86Vcpu {
  getRegisters(): X86Registers;
  /** Sets every register; spread the result of `getRegisters()` to change a few. */
  setRegisters(registers: X86Registers): void;
  getSpecialRegisters(): X86SpecialRegisters;
  setSpecialRegisters(registers: X86SpecialRegisters): void;
  getFpu(): X86Fpu;
  setFpu(fpu: X86Fpu): void;
  /** The XSAVE area in the standard (non-compacted) format, 4096 bytes or more. */
  getXsave(): Uint8Array;
  /** Takes what `getXsave()` gave on a vCPU with the same CPUID. */
  setXsave(area: Uint8Array): void;
  getXcrs(): X86Xcr[];
  setXcrs(xcrs: readonly X86Xcr[]): void;
  /** Reads MSRs. @throws {@link HypervisorError} naming the first one that the hypervisor refuses. */
  getMsrs(indices: readonly number[]): X86Msr[];
  /** Writes MSRs in order. @throws {@link HypervisorError} naming the first one that the hypervisor refuses. */
  setMsrs(msrs: readonly X86Msr[]): void;
  getCpuid(): X86CpuidEntry[];
  /** Sets what the guest's CPUID returns; once, before the first run. */
  setCpuid(entries: readonly X86CpuidEntry[]): void;
  /** The local APIC's register page, 1024 bytes. Needs the in-kernel interrupt controller. */
  getLapic(): Uint8Array;
  setLapic(registers: Uint8Array): void;
  /** One of {@link X86MpState}. Needs the in-kernel interrupt controller. */
  getMpState(): number;
  setMpState(state: number): void;
  getEvents(): X86VcpuEvents;
  setEvents(events: X86VcpuEvents): void;
  getDebugRegisters(): X86DebugRegisters;
  setDebugRegisters(registers: X86DebugRegisters): void;
  /** The guest's TSC frequency in kHz. */
  getTscFrequency(): number;
  /** Sets the guest's TSC frequency in kHz. @throws {@link HypervisorError} when the host cannot scale to it. */
  setTscFrequency(kilohertz: number): void;
  /** Tells a paravirtual clock that the guest was paused, so that its watchdogs stay calm. */
  notifyPaused(): void;
}

/** State of the in-kernel PICs, IOAPIC and PIT in the driver's own format: opaque, restore it as it is. */
export interface X86InterruptControllerState {
  primaryPic: Uint8Array;
  secondaryPic: Uint8Array;
  ioapic: Uint8Array;
  pit: Uint8Array;
}

/** What only x86 VMs have. */
export interface X86Vm {
  getInterruptControllerState(): X86InterruptControllerState;
  setInterruptControllerState(state: X86InterruptControllerState): void;
  /** The paravirtual clock in nanoseconds since the VM was made. */
  getClock(): bigint;
  setClock(nanoseconds: bigint): void;
}

/** What the host's processor and hypervisor offer to x86 guests. */
export interface X86Host {
  /** The CPUID leaves that a vCPU can be given: the starting point for `setCpuid()`. */
  supportedCpuid(): X86CpuidEntry[];
  /** The indices of the MSRs that hold guest state: what a snapshot saves. */
  supportedMsrs(): number[];
}
