/**
 * The machine for hosts without a usable hypervisor: a QEMU microvm whose file systems and sockets are
 * our own virtio devices, served over vhost-user.
 *
 * @packageDocumentation
 */
export type { MachineExit, MachineExitReason } from "@supermachine-internal/console";
export type { QemuDisk } from "./arguments.js";
export { findQemu, type QemuBinary } from "./binary.js";
export { QemuError, type QemuErrorCode } from "./error.js";
export {
  MAX_CPUS,
  QemuMachine,
  type QemuMachineOptions,
} from "./machine.js";
