/**
 * Virtio devices in TypeScript: split virtqueues, virtio-mmio and vhost-user transports, fs, vsock, console, blk and rng.
 *
 * @packageDocumentation
 */
export {};
