/**
 * Run any OCI image as a hardware-isolated microVM.
 *
 * @packageDocumentation
 */
export { ImageStore, type StoredImage } from "@supermachine/oci/image-store";
export type { MachineExit, MachineExitReason } from "@supermachine/vmm";
export { SupermachineError, type SupermachineErrorCode } from "./errors.js";
export type { CommandOptions, ExecOptions, ExecResult, SpawnOptions } from "./exec.js";
export { chooseHypervisor, type HypervisorChoice } from "./hypervisor/choice.js";
export type { HypervisorName } from "./hypervisor/remembered.js";
export { type HypervisorStatus, kvmStatus, qemuStatus } from "./hypervisor/status.js";
export type { CachePolicy, HypervisorKind, SymlinkPolicy } from "./machine/config.js";
export { type Mount, Vm, type VmOptions } from "./vm.js";
