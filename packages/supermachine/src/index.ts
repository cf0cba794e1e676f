/**
 * Run any OCI image as a hardware-isolated microVM.
 *
 * @packageDocumentation
 */
export { ImageStore, type StoredImage } from "@supermachine/oci";
export type { MachineExit, MachineExitReason } from "@supermachine/vmm";
export { SupermachineError, type SupermachineErrorCode } from "./errors.js";
export type { CommandOptions, ExecOptions, ExecResult, SpawnOptions } from "./exec.js";
export {
  chooseHypervisor,
  type HypervisorChoice,
  type HypervisorName,
  type HypervisorStatus,
  kvmStatus,
  qemuStatus,
} from "./hypervisor-choice.js";
export type { SymlinkPolicy } from "./machine/config.js";
export { type Mount, Vm, type VmOptions } from "./vm.js";
