/**
 * The machine for hosts without a usable hypervisor: a QEMU microvm whose file systems and sockets are
 * our own virtio devices, served over vhost-user.
 *
 * @packageDocumentation
 */
export type { QemuDisk } from "./arguments.js";
export { findQemu, type QemuBinary } from "./binary.js";
export { ConsoleLog } from "./console-log.js";
export { QemuError, type QemuErrorCode } from "./error.js";
export {
  MAX_CPUS,
  type QemuExit,
  type QemuExitReason,
  QemuMachine,
  type QemuMachineOptions,
} from "./machine.js";
