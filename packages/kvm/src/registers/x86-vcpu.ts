import type {
  X86CpuidEntry,
  X86DebugRegisters,
  X86Fpu,
  X86Msr,
  X86Registers,
  X86SpecialRegisters,
  X86Vcpu,
  X86VcpuEvents,
  X86Xcr,
} from "@supermachine/hypervisor";
import { kvm_mp_state } from "../abi.js";
import {
  kvm_debugregs,
  kvm_fpu,
  kvm_lapic_state,
  kvm_regs,
  kvm_sregs,
  kvm_vcpu_events,
  kvm_xcrs,
  kvm_xsave,
} from "../abi-x86.js";
import { KvmError } from "../errors.js";
import { ioctl } from "../ioctl.js";
import type { IoctlName } from "../numbers.js";
import { getCpuid, setCpuid } from "./cpuid.js";
import {
  decodeDebugRegisters,
  decodeEvents,
  encodeDebugRegisters,
  encodeEvents,
} from "./events.js";
import { decodeFpu, decodeXcrs, encodeFpu, encodeXcrs } from "./fpu.js";
import {
  decodeRegisters,
  decodeSpecialRegisters,
  encodeRegisters,
  encodeSpecialRegisters,
} from "./general.js";
import { getMsrs, setAllMsrs } from "./msr.js";

function requireLength(what: string, bytes: Uint8Array, length: number): Uint8Array {
  // The kernel reads `length` bytes whatever it is given: a short buffer would leak or crash.
  if (bytes.length !== length) {
    throw new KvmError("ERR_KVM_ARGUMENT", `${what} has ${bytes.length} bytes, not ${length}`);
  }
  return bytes;
}

/** The register model of a KVM vCPU: each method is the ioctl of the same name. */
export class KvmX86Vcpu implements X86Vcpu {
  readonly #fd: () => number;
  readonly #xsaveSize: number;

  /** `fd` returns the vCPU's file descriptor, or throws when it is closed. */
  constructor(fd: () => number, xsaveSize: number) {
    this.#fd = fd;
    this.#xsaveSize = Math.max(xsaveSize, kvm_xsave.size);
  }

  getRegisters(): X86Registers {
    return decodeRegisters(this.#get("KVM_GET_REGS", kvm_regs.size));
  }

  setRegisters(registers: X86Registers): void {
    this.#set("KVM_SET_REGS", encodeRegisters(registers));
  }

  getSpecialRegisters(): X86SpecialRegisters {
    return decodeSpecialRegisters(this.#get("KVM_GET_SREGS", kvm_sregs.size));
  }

  setSpecialRegisters(registers: X86SpecialRegisters): void {
    this.#set("KVM_SET_SREGS", encodeSpecialRegisters(registers));
  }

  getFpu(): X86Fpu {
    return decodeFpu(this.#get("KVM_GET_FPU", kvm_fpu.size));
  }

  setFpu(fpu: X86Fpu): void {
    this.#set("KVM_SET_FPU", encodeFpu(fpu));
  }

  getXsave(): Uint8Array {
    const request = this.#xsaveSize > kvm_xsave.size ? "KVM_GET_XSAVE2" : "KVM_GET_XSAVE";
    return this.#get(request, this.#xsaveSize);
  }

  setXsave(area: Uint8Array): void {
    this.#set("KVM_SET_XSAVE", requireLength("the XSAVE area", area, this.#xsaveSize));
  }

  getXcrs(): X86Xcr[] {
    return decodeXcrs(this.#get("KVM_GET_XCRS", kvm_xcrs.size));
  }

  setXcrs(xcrs: readonly X86Xcr[]): void {
    this.#set("KVM_SET_XCRS", encodeXcrs(xcrs));
  }

  getMsrs(indices: readonly number[]): X86Msr[] {
    return getMsrs(this.#fd(), indices);
  }

  setMsrs(msrs: readonly X86Msr[]): void {
    setAllMsrs(this.#fd(), msrs);
  }

  getCpuid(): X86CpuidEntry[] {
    return getCpuid(this.#fd(), "KVM_GET_CPUID2");
  }

  setCpuid(entries: readonly X86CpuidEntry[]): void {
    setCpuid(this.#fd(), entries);
  }

  getLapic(): Uint8Array {
    return this.#get("KVM_GET_LAPIC", kvm_lapic_state.size);
  }

  setLapic(registers: Uint8Array): void {
    this.#set("KVM_SET_LAPIC", requireLength("the local APIC", registers, kvm_lapic_state.size));
  }

  getMpState(): number {
    return kvm_mp_state.decode(this.#get("KVM_GET_MP_STATE", kvm_mp_state.size)).mp_state;
  }

  setMpState(state: number): void {
    const bytes = Buffer.alloc(kvm_mp_state.size);
    kvm_mp_state.encode({ mp_state: state }, bytes);
    this.#set("KVM_SET_MP_STATE", bytes);
  }

  getEvents(): X86VcpuEvents {
    return decodeEvents(this.#get("KVM_GET_VCPU_EVENTS", kvm_vcpu_events.size));
  }

  setEvents(events: X86VcpuEvents): void {
    this.#set("KVM_SET_VCPU_EVENTS", encodeEvents(events));
  }

  getDebugRegisters(): X86DebugRegisters {
    return decodeDebugRegisters(this.#get("KVM_GET_DEBUGREGS", kvm_debugregs.size));
  }

  setDebugRegisters(registers: X86DebugRegisters): void {
    this.#set("KVM_SET_DEBUGREGS", encodeDebugRegisters(registers));
  }

  getTscFrequency(): number {
    return ioctl(this.#fd(), "KVM_GET_TSC_KHZ", 0);
  }

  setTscFrequency(kilohertz: number): void {
    ioctl(this.#fd(), "KVM_SET_TSC_KHZ", kilohertz);
  }

  notifyPaused(): void {
    ioctl(this.#fd(), "KVM_KVMCLOCK_CTRL", 0);
  }

  #get(request: IoctlName, size: number): Uint8Array {
    const bytes = Buffer.alloc(size);
    ioctl(this.#fd(), request, bytes);
    return bytes;
  }

  #set(request: IoctlName, bytes: Uint8Array): void {
    ioctl(this.#fd(), request, bytes);
  }
}
