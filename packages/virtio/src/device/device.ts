import type { GuestMemory } from "../memory/guest-memory.js";
import type { Virtqueue } from "../queue/virtqueue.js";

/** What a transport gives a device when the driver is ready (DRIVER_OK). */
export interface DeviceContext {
  readonly memory: GuestMemory;
  /** One per entry of `queueSizes`; `undefined` where the driver left the queue disabled. */
  readonly queues: readonly (Virtqueue | undefined)[];
  /** The feature bits that device and driver agreed on, those of the transport included. */
  readonly features: bigint;
  /** Publishes `device.config` anew and tells the driver that it changed. */
  raiseConfigChange(): void;
  /** Stops the device until the driver resets it: sets DEVICE_NEEDS_RESET (virtio 1.2, section 2.1.2). */
  fail(reason: Error): void;
}

/** Host memory that a device shows to the guest beside the guest's own (virtio 1.2, section 2.10). */
export interface SharedMemoryRegion {
  /** shmid: what the region is for, by device type. */
  readonly id: number;
  /** Bytes; a multiple of 2 MiB. */
  readonly length: number;
  /** Host address of the first byte. The range stays this device's until it is closed. */
  readonly hostAddress: bigint;
  /**
   * Copies bytes out of the region, and {@link SharedMemoryRegion.write} into it: another device may be asked
   * to. False where the bytes cannot be accessed now.
   */
  read(offset: number, target: Uint8Array): boolean;
  write(offset: number, source: Uint8Array): boolean;
  /**
   * The guest touched a part that the host cannot back. Brings the region in line with what it shows;
   * answers whether that changed anything, so that the access is worth another try.
   */
  repair?(): boolean;
}

/**
 * A virtio device, independent of how the driver reaches it. A transport calls every method on one
 * thread, in this order: `activate`, then any number of `notify` and `writeConfig`, then `reset`, and
 * so on until `close`. What the guest does never makes a method throw; should one throw nevertheless,
 * the transport fails the device.
 */
export interface VirtioDevice extends Disposable {
  /** Virtio 1.2, section 5. */
  readonly deviceId: number;
  /** The device's own feature bits; the transport adds VERSION_1, INDIRECT_DESC and EVENT_IDX. */
  readonly features: bigint;
  /** The largest size of each queue, powers of two. */
  readonly queueSizes: readonly number[];
  /** The device configuration space; at most 256 bytes. */
  readonly config: Uint8Array;
  /** Offered to the guest by transports that can (virtio-mmio); a driver does without where it is not. */
  readonly sharedMemory?: SharedMemoryRegion | undefined;
  /** The driver wrote to the configuration space. Absent: such writes are ignored. */
  writeConfig?(offset: number, bytes: Uint8Array): void;
  /** The driver is ready; the transport rings every queue once after this. */
  activate(context: DeviceContext): void;
  /** The doorbell of a queue; may be spurious. */
  notify(queueIndex: number): void;
  /** Totals that only the device knows, by name; none that its queues show as well. */
  counters?(): Readonly<Record<string, number>>;
  /**
   * What the device keeps for its driver beside the rings and the registers, in its own format; called when
   * it has nothing in flight. Absent: nothing. Throws when it cannot be saved now.
   */
  saveState?(): Uint8Array;
  /**
   * Takes up what `saveState()` of such a device gave; before `activate`. Throws when the bytes are not that.
   * Called with `undefined` where the snapshot holds nothing of the device's own.
   */
  restoreState?(state: Uint8Array | undefined): void;
  /** Forgets the driver. The queues are closed already. Also called when not active. */
  reset(): void;
  /** Releases what the device owns. Idempotent. */
  close(): void;
}
