/**
 * Linux KVM for Node.js: VMs, memory slots, vCPUs, irqfd, ioeventfd, registers.
 *
 * @packageDocumentation
 */
export {};
