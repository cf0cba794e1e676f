/**
 * One x86-64 virtual machine: memory map, Linux boot protocol, virtio-mmio bus and vCPU threads, on
 * any driver of the `@supermachine/hypervisor` seam.
 *
 * @packageDocumentation
 */

export type { MachineExit, MachineExitReason } from "@supermachine-internal/console";
export { VmmError, type VmmErrorCode } from "./errors.js";
export { Machine } from "./machine.js";
export {
  MAX_CPUS,
  type MachineHost,
  type MachineOptions,
  type RestoreOptions,
} from "./machine-options.js";
export type { DeviceMetrics, MachineMetrics, VcpuMetrics } from "./metrics/machine-metrics.js";
export type { MappedMemory, ThreadTime } from "./metrics/usage.js";
export type { CpuModel } from "./snapshot/cpu-model.js";
export { SNAPSHOT_VERSION } from "./snapshot/document.js";
export type { DeviceState, MachineState, MemoryLayer } from "./snapshot/machine-state.js";
export type { SaveOptions } from "./snapshot/save.js";
export { Snapshot } from "./snapshot/snapshot.js";
export { runVcpuThread } from "./vcpu-thread.js";
export { VcpuThreads } from "./vcpu-threads.js";
