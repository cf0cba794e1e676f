/**
 * The hypervisor seam: types every driver implements, a measurement of how fast guests really run, and
 * (at `@supermachine/hypervisor/conformance`) the suite every driver must pass.
 *
 * @packageDocumentation
 */
export type { Arm64CoreRegister, Arm64SystemRegister, Arm64Vcpu } from "./arm64.js";
export { HypervisorError } from "./errors.js";
export { ExitReason, SystemEvent, type VcpuExit } from "./exit.js";
export type { FileWindow } from "./file-window.js";
export { type GuestSpeed, MINIMUM_GUEST_SPEED, measureGuestSpeed } from "./guest-speed.js";
export type { Availability, FileExtent, HostMemory, Hypervisor } from "./hypervisor.js";
export type { VcpuHandle, VcpuKickToken } from "./vcpu.js";
export type {
  DoorbellOptions,
  MemorySlot,
  VmCapabilities,
  VmHandle,
  VmOptions,
  VmToken,
} from "./vm.js";
export {
  type X86CpuidEntry,
  type X86DebugRegisters,
  type X86DescriptorTable,
  type X86Fpu,
  type X86Host,
  type X86InterruptControllerState,
  X86MpState,
  type X86Msr,
  type X86Registers,
  type X86Segment,
  type X86SpecialRegisters,
  type X86Vcpu,
  type X86VcpuEvents,
  type X86Vm,
  type X86Xcr,
} from "./x86.js";
