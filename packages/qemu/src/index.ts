/**
 * The fallback machine: QEMU microvm with vhost-user devices.
 *
 * @packageDocumentation
 */
export {};
