/**
 * Linux KVM for Node.js: VMs, memory slots, vCPUs, irqfd, ioeventfd, registers. The driver of
 * `@supermachine/hypervisor` for Linux on x86-64.
 *
 * @packageDocumentation
 */
export { KvmError, type KvmErrorCode, type KvmErrorOptions } from "./errors.js";
export type { KvmExit } from "./exits.js";
export type { KvmX86Vm } from "./interrupt-controller.js";
export { DEFAULT_KICK_SIGNAL } from "./kick.js";
export type { KvmX86Vcpu } from "./registers/x86-vcpu.js";
export { Kvm, type KvmOptions, RESERVED_GUEST_RANGE } from "./system.js";
export type { KvmVcpu } from "./vcpu.js";
export type { KvmVm } from "./vm.js";
