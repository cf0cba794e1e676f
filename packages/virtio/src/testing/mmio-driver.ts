import type { VirtioDevice } from "../device/device.js";
import { GuestMemory } from "../memory/guest-memory.js";
import { MmioDevice, type MmioState } from "../transport/mmio.js";
import {
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_MMIO_CONFIG,
  VIRTIO_MMIO_DEVICE_FEATURES,
  VIRTIO_MMIO_DEVICE_FEATURES_SEL,
  VIRTIO_MMIO_DRIVER_FEATURES,
  VIRTIO_MMIO_DRIVER_FEATURES_SEL,
  VIRTIO_MMIO_INTERRUPT_ACK,
  VIRTIO_MMIO_INTERRUPT_STATUS,
  VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
  VIRTIO_MMIO_QUEUE_AVAIL_LOW,
  VIRTIO_MMIO_QUEUE_DESC_HIGH,
  VIRTIO_MMIO_QUEUE_DESC_LOW,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_QUEUE_NUM,
  VIRTIO_MMIO_QUEUE_NUM_MAX,
  VIRTIO_MMIO_QUEUE_READY,
  VIRTIO_MMIO_QUEUE_SEL,
  VIRTIO_MMIO_QUEUE_USED_HIGH,
  VIRTIO_MMIO_QUEUE_USED_LOW,
  VIRTIO_MMIO_SHM_BASE_HIGH,
  VIRTIO_MMIO_SHM_BASE_LOW,
  VIRTIO_MMIO_SHM_LEN_HIGH,
  VIRTIO_MMIO_SHM_LEN_LOW,
  VIRTIO_MMIO_SHM_SEL,
  VIRTIO_MMIO_STATUS,
} from "../transport/mmio-layout.js";
import { MmioAction, MmioRegisters } from "../transport/mmio-registers.js";
import { type Completion, DriverQueue } from "./driver-queue.js";
import { GuestHeap } from "./guest-heap.js";

export interface MmioDriverOptions {
  /** Bytes of guest memory; default 16 MiB. */
  readonly memorySize?: number;
  /** Bring the driver's memory along, to restore a snapshot. */
  readonly memory?: GuestMemory;
}

const GUEST_BASE = 0x10_0000;
const DEFAULT_MEMORY = 16 << 20;

/**
 * A guest's driver for one device over virtio-mmio, in one thread: real guest memory, real registers,
 * real rings, no kernel. Every register write goes through `MmioRegisters` as a vCPU's would.
 */
export class MmioDriver implements Disposable {
  /** Where the device's shared memory region appears: above 4 GiB. */
  static readonly sharedMemoryAddress = 0x1_4000_0000;
  readonly memory: GuestMemory;
  readonly registers: MmioRegisters;
  readonly transport: MmioDevice;
  /** The rings, after {@link MmioDriver.start}. */
  queues: DriverQueue[] = [];
  /** How often the device raised its interrupt line. */
  interrupts = 0;
  /** What made the device stop, in order. */
  readonly failures: Error[] = [];
  #heap: GuestHeap;

  constructor(device: VirtioDevice, options: MmioDriverOptions = {}) {
    const size = options.memorySize ?? DEFAULT_MEMORY;
    this.memory =
      options.memory ??
      new GuestMemory([{ guestAddress: GUEST_BASE, buffer: new SharedArrayBuffer(size) }]);
    this.#heap = new GuestHeap(this.memory, GUEST_BASE, size);
    const { sharedMemory } = device;
    this.registers = MmioRegisters.create(
      device,
      undefined,
      0,
      sharedMemory === undefined
        ? undefined
        : { ...sharedMemory, guestAddress: MmioDriver.sharedMemoryAddress },
    );
    this.transport = new MmioDevice(
      device,
      this.memory,
      this.registers,
      () => {
        this.interrupts += 1;
      },
      { onFailure: (reason) => this.failures.push(reason) },
    );
  }

  /** Allocates the way the rings' memory is, for hand-made requests. */
  get heap(): GuestHeap {
    return this.#heap;
  }

  read(offset: number, size = 4): number {
    return this.registers.read(offset, size);
  }

  write(offset: number, value: number, size = 4): void {
    const action = this.registers.write(offset, size, value);
    if (action !== MmioAction.none) this.transport.handle(action, value, offset, size);
  }

  get status(): number {
    return this.read(VIRTIO_MMIO_STATUS);
  }

  /** Bytes of the configuration space. */
  readConfig(offset: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, at) => this.read(VIRTIO_MMIO_CONFIG + offset + at, 1));
  }

  /** What the registers say of shared memory region `id`; all ones where there is none. */
  sharedMemory(id: number): { length: bigint; base: bigint } {
    this.write(VIRTIO_MMIO_SHM_SEL, id);
    const word = (low: number, high: number) =>
      BigInt(this.read(low)) | (BigInt(this.read(high)) << 32n);
    return {
      length: word(VIRTIO_MMIO_SHM_LEN_LOW, VIRTIO_MMIO_SHM_LEN_HIGH),
      base: word(VIRTIO_MMIO_SHM_BASE_LOW, VIRTIO_MMIO_SHM_BASE_HIGH),
    };
  }

  /** The feature bits that the device offers. */
  offeredFeatures(): bigint {
    this.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    const high = BigInt(this.read(VIRTIO_MMIO_DEVICE_FEATURES));
    this.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    return (high << 32n) | BigInt(this.read(VIRTIO_MMIO_DEVICE_FEATURES));
  }

  /** Initialises the device as section 3.1 says, accepting all features but those in `without`. */
  start(options: { readonly without?: bigint; readonly queueSize?: number } = {}): this {
    this.reset();
    this.write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    let status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
    this.write(VIRTIO_MMIO_STATUS, status);
    const features = this.offeredFeatures() & ~(options.without ?? 0n);
    this.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    this.write(VIRTIO_MMIO_DRIVER_FEATURES, Number(features & 0xffff_ffffn));
    this.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    this.write(VIRTIO_MMIO_DRIVER_FEATURES, Number(features >> 32n));
    status |= VIRTIO_CONFIG_S_FEATURES_OK;
    this.write(VIRTIO_MMIO_STATUS, status);
    if ((this.status & VIRTIO_CONFIG_S_FEATURES_OK) === 0) {
      throw new Error(`the device refused the features 0x${features.toString(16)}`);
    }
    this.queues = this.transport.device.queueSizes.map((_, index) =>
      this.#setUpQueue(index, features, options.queueSize),
    );
    this.write(VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_DRIVER_OK);
    return this;
  }

  /** The rings of queue `index`. Throws when there is none. */
  queue(index: number): DriverQueue {
    const queue = this.queues[index];
    if (queue === undefined) throw new RangeError(`no queue ${index}`);
    return queue;
  }

  /** Rings the doorbell of a queue if the device wants it. */
  notify(index: number): void {
    if (this.queue(index).shouldNotify()) this.write(VIRTIO_MMIO_QUEUE_NOTIFY, index);
  }

  /** Submits one request, rings, and takes its completion. Throws when the device keeps it. */
  request(
    index: number,
    readable: readonly Uint8Array[],
    writable: readonly number[] = [],
    options: { readonly indirect?: boolean } = {},
  ): Completion {
    const queue = this.queue(index);
    const head = queue.submit(readable, writable, options);
    this.notify(index);
    const completion = queue.collect().find((candidate) => candidate.head === head);
    if (completion === undefined) throw new Error(`request ${head} is not complete`);
    return completion;
  }

  /** Reads and acknowledges the interrupt status, as an interrupt handler does. */
  acknowledge(): number {
    const status = this.read(VIRTIO_MMIO_INTERRUPT_STATUS);
    this.write(VIRTIO_MMIO_INTERRUPT_ACK, status);
    return status;
  }

  reset(): void {
    this.write(VIRTIO_MMIO_STATUS, 0);
    this.queues = [];
  }

  save(): MmioState {
    return this.transport.save();
  }

  close(): void {
    this.transport.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #setUpQueue(index: number, features: bigint, size: number | undefined): DriverQueue {
    this.write(VIRTIO_MMIO_QUEUE_SEL, index);
    const maximum = this.read(VIRTIO_MMIO_QUEUE_NUM_MAX);
    const queue = new DriverQueue(this.#heap, Math.min(size ?? maximum, maximum), features);
    this.write(VIRTIO_MMIO_QUEUE_NUM, queue.size);
    const place = (low: number, high: number, address: number) => {
      this.write(low, address >>> 0);
      this.write(high, Math.floor(address / 2 ** 32));
    };
    place(VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_DESC_HIGH, queue.descriptorTable);
    place(VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, queue.availableRing);
    place(VIRTIO_MMIO_QUEUE_USED_LOW, VIRTIO_MMIO_QUEUE_USED_HIGH, queue.usedRing);
    this.write(VIRTIO_MMIO_QUEUE_READY, 1);
    return queue;
  }
}
