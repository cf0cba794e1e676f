/**
 * One virtual machine: memory map, Linux boot protocol, device bus, vCPU threads.
 *
 * @packageDocumentation
 */
export {};
