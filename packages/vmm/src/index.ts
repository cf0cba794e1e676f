/**
 * One x86-64 virtual machine: memory map, Linux boot protocol, virtio-mmio bus and vCPU threads, on
 * any driver of the `@supermachine/hypervisor` seam.
 *
 * @packageDocumentation
 */
export { ConsoleLog } from "./console-log.js";
export { VmmError, type VmmErrorCode } from "./errors.js";
export type { MachineExit, MachineExitReason } from "./exit.js";
export { MAX_CPUS, Machine, type MachineOptions } from "./machine.js";
export { runVcpuThread } from "./vcpu-thread.js";
