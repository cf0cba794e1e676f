/**
 * The driver's side of virtio, for tests of devices and transports: rings built in guest memory and
 * a whole virtio-mmio driver, without a kernel.
 *
 * @packageDocumentation
 */
export { type Completion, DriverQueue } from "./driver-queue.js";
export { GuestHeap } from "./guest-heap.js";
export { MmioDriver, type MmioDriverOptions } from "./mmio-driver.js";
