import { kvm_mp_state } from "../abi.js";
import {
  kvm_cpuid_entry2,
  kvm_cpuid2,
  kvm_debugregs,
  kvm_lapic_state,
  kvm_msr_entry,
  kvm_msrs,
  kvm_regs,
  kvm_sregs,
  kvm_vcpu_events,
  kvm_xcrs,
  kvm_xsave,
} from "../abi-x86.js";
import { KvmError } from "../errors.js";
import { ioctl, tryIoctl } from "../ioctl.js";
import type { IoctlName } from "../numbers.js";
import { encodeSections, Sections } from "../state-sections.js";
import { decodeCpuid, encodeCpuid, getCpuid, MAX_CPUID_ENTRIES, setCpuid } from "./cpuid.js";
import { decodeMsrs, encodeMsrs, getMsrs, readableMsrs, setMsrs } from "./msr.js";

/** What this host has for a vCPU's state. */
export interface VcpuStateHost {
  /** KVM_CAP_XCRS: whether the processor has XSAVE. Without it the XSAVE area holds the legacy state alone. */
  readonly hasXcrs: boolean;
  /** KVM_CAP_XSAVE2: bytes of the XSAVE area; 0 where it has the fixed size. */
  readonly xsaveSize: number;
  /** Whether there is an in-kernel interrupt controller, and with it a local APIC. */
  readonly hasLapic: boolean;
  /** KVM_GET_MSR_INDEX_LIST */
  readonly msrIndices: readonly number[];
  /** KVM_CAP_NESTED_STATE: whether the guest may run guests of its own. */
  readonly hasNestedState: boolean;
}

const MSR_IA32_TSC = 0x10;
const MSR_IA32_TSC_DEADLINE = 0x6e0;
/** Old numbers of two registers that have new ones: writing both would decide twice how they work. */
const MSR_KVM_WALL_CLOCK = 0x11;
const MSR_KVM_SYSTEM_TIME = 0x12;
const MSR_KVM_WALL_CLOCK_NEW = 0x4b56_4d00;
const MSR_KVM_SYSTEM_TIME_NEW = 0x4b56_4d01;
const replaced = new Map([
  [MSR_KVM_WALL_CLOCK, MSR_KVM_WALL_CLOCK_NEW],
  [MSR_KVM_SYSTEM_TIME, MSR_KVM_SYSTEM_TIME_NEW],
]);
const MAX_MSRS = 4096;

/** What KVM keeps for the guest and not all versions list: the MTRRs (Intel SDM, volume 3, section 12.11). */
const mtrrs = [
  ...Array.from({ length: 16 }, (_, n) => 0x200 + n),
  ...[0x250, 0x258, 0x259],
  ...Array.from({ length: 8 }, (_, n) => 0x268 + n),
  0x2ff,
];
/** Four registers for each of so many machine-check banks as the low byte of IA32_MCG_CAP says (section 16.3.2). */
const MSR_IA32_MCG_CAP = 0x179;
const MSR_IA32_MC0_CTL = 0x400;

/** Those that the vCPU may have. */
function candidateMsrs(fd: number, listed: readonly number[]): number[] {
  const [capability] = readableMsrs(fd, [MSR_IA32_MCG_CAP]);
  const banks = Number((capability?.value ?? 0n) & 0xffn);
  const checks = Array.from({ length: 4 * banks }, (_, n) => MSR_IA32_MC0_CTL + n);
  const all = new Set([...listed, ...mtrrs, ...checks]);
  return [...all].filter((index) => {
    const successor = replaced.get(index);
    return successor === undefined || !all.has(successor);
  });
}

/** Reads the whole state of the vCPU behind `fd`. */
export function saveVcpuState(fd: number, host: VcpuStateHost): Uint8Array {
  const get = (request: IoctlName, size: number) => {
    const bytes = Buffer.alloc(size);
    ioctl(fd, request, bytes);
    return bytes;
  };
  const frequency = Buffer.alloc(4);
  frequency.writeUInt32LE(ioctl(fd, "KVM_GET_TSC_KHZ", 0));
  // First, for it takes INIT and start-up IPIs that came meanwhile, which changes all the rest.
  const mpState = host.hasLapic ? { MPST: get("KVM_GET_MP_STATE", kvm_mp_state.size) } : {};
  return encodeSections({
    ...mpState,
    CPID: encodeCpuid(getCpuid(fd, "KVM_GET_CPUID2")),
    TSCK: frequency,
    REGS: get("KVM_GET_REGS", kvm_regs.size),
    SREG: get("KVM_GET_SREGS", kvm_sregs.size),
    XSAV:
      host.xsaveSize > kvm_xsave.size
        ? get("KVM_GET_XSAVE2", host.xsaveSize)
        : get("KVM_GET_XSAVE", kvm_xsave.size),
    ...(host.hasXcrs ? { XCRS: get("KVM_GET_XCRS", kvm_xcrs.size) } : {}),
    DBGR: get("KVM_GET_DEBUGREGS", kvm_debugregs.size),
    ...(host.hasLapic ? { LAPC: get("KVM_GET_LAPIC", kvm_lapic_state.size) } : {}),
    MSRS: encodeMsrs(readableMsrs(fd, candidateMsrs(fd, host.msrIndices))),
    // Last, for reading the others may change what is pending.
    EVNT: get("KVM_GET_VCPU_EVENTS", kvm_vcpu_events.size),
  });
}

/**
 * Makes the vCPU behind `fd` what {@link saveVcpuState} found, and answers its CPUID as the state has it. One
 * that has run can be no other processor any more than it is by `cpuid`, which is what this answered before.
 *
 * @throws {@link KvmError} `ERR_KVM_STATE` for bytes that it did not write, `ERR_KVM_IOCTL` or
 * `ERR_KVM_MSR` where this host refuses a value.
 */
export function restoreVcpuState(
  fd: number,
  host: VcpuStateHost,
  state: Uint8Array,
  cpuid?: Uint8Array,
): Uint8Array {
  const sections = new Sections("a vCPU", state);
  const set = (tag: string, request: IoctlName, size: number) =>
    ioctl(fd, request, sections.take(tag, size));
  const saved = sections.takeList(
    "CPID",
    kvm_cpuid2.size,
    kvm_cpuid_entry2.size,
    MAX_CPUID_ENTRIES,
  );
  if (cpuid === undefined) setCpuid(fd, decodeCpuid(saved));
  else if (Buffer.compare(cpuid, saved) !== 0) {
    throw new KvmError("ERR_KVM_STATE", "a vCPU that has run cannot become another processor");
  }
  restoreTscFrequency(fd, Buffer.from(sections.take("TSCK", 4)).readUInt32LE());
  if (host.hasLapic) set("MPST", "KVM_SET_MP_STATE", kvm_mp_state.size);
  // Before EVNT: it clears pending exceptions.
  set("REGS", "KVM_SET_REGS", kvm_regs.size);
  set("SREG", "KVM_SET_SREGS", kvm_sregs.size);
  set("XSAV", "KVM_SET_XSAVE", Math.max(host.xsaveSize, kvm_xsave.size));
  if (host.hasXcrs !== sections.has("XCRS")) {
    const had = host.hasXcrs ? "without" : "with";
    throw new KvmError("ERR_KVM_STATE", `the state was saved on a processor ${had} XSAVE`);
  }
  if (host.hasXcrs) set("XCRS", "KVM_SET_XCRS", kvm_xcrs.size);
  set("DBGR", "KVM_SET_DEBUGREGS", kvm_debugregs.size);
  // After SREG, which holds its base address; before MSRS, whose deadline needs the timer's mode.
  if (host.hasLapic) set("LAPC", "KVM_SET_LAPIC", kvm_lapic_state.size);
  const msrs = sections.takeList("MSRS", kvm_msrs.size, kvm_msr_entry.size, MAX_MSRS);
  restoreMsrs(fd, msrs);
  set("EVNT", "KVM_SET_VCPU_EVENTS", kvm_vcpu_events.size);
  sections.end();
  return saved;
}

function restoreTscFrequency(fd: number, kilohertz: number): void {
  if (ioctl(fd, "KVM_GET_TSC_KHZ", 0) === kilohertz) return;
  if (tryIoctl(fd, "KVM_SET_TSC_KHZ", kilohertz) >= 0) return;
  throw new KvmError(
    "ERR_KVM_STATE",
    `the saved TSC runs at ${kilohertz} kHz, and this host cannot scale its own to that`,
  );
}

function restoreMsrs(fd: number, bytes: Uint8Array): void {
  const rank = (index: number) =>
    index === MSR_IA32_TSC ? 0 : index === MSR_IA32_TSC_DEADLINE ? 2 : 1;
  // The deadline is a time of the TSC.
  const msrs = decodeMsrs(bytes).sort((a, b) => rank(a.index) - rank(b.index));
  for (let start = 0; start < msrs.length; ) {
    const done = setMsrs(fd, msrs.slice(start));
    const refused = msrs[start + done];
    if (refused === undefined) return;
    // Some are there to be read: what matters is that they say the same here.
    const [found] = getMsrs(fd, [refused.index]);
    if (found?.value !== refused.value) {
      const register = `MSR 0x${refused.index.toString(16)}`;
      throw new KvmError(
        "ERR_KVM_STATE",
        `${register} was 0x${refused.value.toString(16)}, which this host does not take`,
      );
    }
    start += done + 1;
  }
}
