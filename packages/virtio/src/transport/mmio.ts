import type { VirtioDevice } from "../device/device.js";
import { VirtioError } from "../error.js";
import type { GuestMemory } from "../memory/guest-memory.js";
import { type QueueCounters, Virtqueue } from "../queue/virtqueue.js";
import {
  MMIO_CONFIG_SIZE,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_MMIO_CONFIG,
  VIRTIO_MMIO_INT_CONFIG,
  VIRTIO_MMIO_INT_VRING,
} from "./mmio-layout.js";
import { MmioAction, type MmioRegisters } from "./mmio-registers.js";

/** Ring positions of one queue, free-running 0 to 65535. */
export interface QueueState {
  readonly lastAvailableIndex: number;
  readonly usedIndex: number;
}

/** What a snapshot keeps of a device on this transport; plain data. */
export interface MmioState {
  readonly registers: Uint8Array;
  /** One per queue; `null` where the driver did not enable it. */
  readonly queues: readonly (QueueState | null)[];
  /** What the device keeps beside them; `null` where that is nothing. */
  readonly device: Uint8Array | null;
}

/** What a device has done for its guest so far, over all resets. */
export interface MmioCounters {
  readonly queues: readonly (QueueCounters & {
    /** Times the guest called for the device, or the device was asked to look. */
    readonly doorbells: number;
  })[];
  /** Interrupts raised. */
  readonly interrupts: number;
}

export interface MmioDeviceOptions {
  /** Hears why the device stopped until the driver resets it. */
  readonly onFailure?: (reason: Error) => void;
}

/**
 * The device-thread side of a virtio-mmio device: turns what the driver wrote to the registers into
 * queues and calls of a {@link VirtioDevice}. It owns the device, and neither memory nor registers.
 */
export class MmioDevice implements Disposable {
  readonly device: VirtioDevice;
  readonly registers: MmioRegisters;
  readonly #memory: GuestMemory;
  readonly #interrupt: () => void;
  readonly #onFailure: ((reason: Error) => void) | undefined;
  #queues: readonly (Virtqueue | undefined)[] = [];
  /** Closed queues that a device still has requests of. */
  #draining: Virtqueue[] = [];
  /** Of queues that are gone. */
  readonly #carried: QueueCounters[] = [];
  readonly #doorbells: number[];
  #interrupts = 0;
  #active = false;
  #closed = false;
  #failure: Error | undefined;

  /** `interrupt` raises the device's interrupt line, an edge each time (an irqfd). */
  constructor(
    device: VirtioDevice,
    memory: GuestMemory,
    registers: MmioRegisters,
    interrupt: () => void,
    options: MmioDeviceOptions = {},
  ) {
    this.device = device;
    this.registers = registers;
    this.#memory = memory;
    this.#interrupt = interrupt;
    this.#onFailure = options.onFailure;
    this.#doorbells = device.queueSizes.map(() => 0);
  }

  counters(): MmioCounters {
    return {
      queues: this.#doorbells.map((doorbells, index) => ({
        ...added(this.#carried[index], this.#queues[index]?.counters()),
        doorbells,
      })),
      interrupts: this.#interrupts,
    };
  }

  /** Why the device stopped, until the driver resets it. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /**
   * Requests that the device took and has not completed, those from before a reset or `close()` included.
   * A snapshot waits until there are none; so does whoever unmaps guest memory, which an asynchronous
   * request may still write to.
   */
  get inFlight(): number {
    let total = 0;
    for (const queue of this.#queues) total += queue?.inFlight ?? 0;
    for (const queue of this.#draining) total += queue.inFlight;
    return total;
  }

  /**
   * Does what `MmioRegisters.write` returned; `value`, `offset` and `size` are those of that write.
   * Also the place for doorbells that the hypervisor delivers by an eventfd:
   * `handle(MmioAction.notify, queueIndex)`. Never throws: a device that does is failed.
   */
  handle(action: MmioAction, value = 0, offset = 0, size = 4): void {
    if (this.#closed) return;
    try {
      if (action === MmioAction.notify) this.#notify(value);
      else if (action === MmioAction.activate) this.#activate();
      else if (action === MmioAction.reset) this.#reset();
      else if (action === MmioAction.config) this.#writeConfig(offset, size, value);
    } catch (error) {
      this.#fail(
        error instanceof Error ? error : new Error(String(error)),
        this.registers.resetCount,
      );
    }
  }

  /** The state for a snapshot; take it when `inFlight` is 0 and the vCPUs are paused. */
  save(): MmioState {
    return {
      registers: this.registers.save(),
      queues: Array.from({ length: this.registers.queueCount }, (_, index) => {
        const queue = this.#queues[index];
        if (queue === undefined) return null;
        return { lastAvailableIndex: queue.lastAvailableIndex, usedIndex: queue.usedIndex };
      }),
      device: this.device.saveState?.() ?? null,
    };
  }

  /**
   * Continues from a saved state, in a new machine whose memory is restored already, or when stopped. The driver is
   * interrupted once, in case an interrupt was lost in between.
   *
   * @throws VirtioError `ERR_VIRTIO_STATE_MISMATCH` when the state is not of such a device.
   */
  restore(state: MmioState): void {
    if (this.#active) {
      throw new VirtioError("ERR_VIRTIO_STATE_MISMATCH", "restore into a device that runs already");
    }
    this.registers.restore(state.registers);
    this.device.restoreState?.(state.device ?? undefined);
    if ((this.registers.status & VIRTIO_CONFIG_S_DRIVER_OK) === 0) return;
    this.#activate(state.queues);
    this.#raise(VIRTIO_MMIO_INT_VRING);
  }

  /**
   * Lets go of the driver, which does not hear of it. Once `inFlight` is 0 {@link MmioDevice.restore} can bring an
   * earlier state back.
   */
  stop(): void {
    if (!this.#closed) this.#reset();
  }

  /** Closes the queues, then the device. Guest memory may be unmapped once `inFlight` is 0. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopQueues();
    this.device.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #activate(states: readonly (QueueState | null)[] = []): void {
    if (this.#active) this.#reset();
    const { registers } = this;
    const { resetCount, driverFeatures: features, status } = registers;
    const isRunning = (status & VIRTIO_CONFIG_S_DRIVER_OK) !== 0;
    // The driver may have reset the device again since it wrote DRIVER_OK.
    if (!isRunning || status & VIRTIO_CONFIG_S_NEEDS_RESET) return;
    this.#active = true;
    const queues: (Virtqueue | undefined)[] = [];
    this.#queues = queues;
    // A device may still report on a driver that is gone.
    const fail = (reason: Error) => {
      if (this.#queues === queues) this.#fail(reason, resetCount);
    };
    const interrupt = () => this.#raise(VIRTIO_MMIO_INT_VRING);
    const raiseConfigChange = () => {
      if (registers.publishConfig(this.device.config)) this.#raise(VIRTIO_MMIO_INT_CONFIG);
    };
    for (let index = 0; index < registers.queueCount; index++) {
      const { ready, ...layout } = registers.queue(index);
      const maximum = this.device.queueSizes[index] ?? 0;
      if (!ready) {
        queues.push(undefined);
        continue;
      }
      if (layout.size > maximum) {
        throw new VirtioError(
          "ERR_VIRTIO_QUEUE_GEOMETRY",
          `queue ${index}: size ${layout.size} exceeds the maximum ${maximum}`,
        );
      }
      const { lastAvailableIndex, usedIndex } = states[index] ?? {};
      queues.push(
        new Virtqueue(this.#memory, {
          ...layout,
          features,
          interrupt,
          fail,
          ...(lastAvailableIndex !== undefined && { lastAvailableIndex }),
          ...(usedIndex !== undefined && { usedIndex }),
        }),
      );
    }
    this.device.activate({ memory: this.#memory, queues, features, raiseConfigChange, fail });
    // The configuration may have changed while there was no driver to tell.
    raiseConfigChange();
    // A doorbell may have been rung before this thread got here.
    for (let index = 0; index < queues.length; index++) this.#notify(index);
  }

  #notify(queueIndex: number): void {
    const queue = this.#queues[queueIndex];
    if (queue === undefined || queue.stopped) return;
    this.#doorbells[queueIndex] = (this.#doorbells[queueIndex] ?? 0) + 1;
    this.device.notify(queueIndex);
  }

  #writeConfig(offset: number, size: number, value: number): void {
    const at = offset - VIRTIO_MMIO_CONFIG;
    if (at < 0 || size < 1 || size > 4 || at + size > MMIO_CONFIG_SIZE) return;
    const bytes = new Uint8Array(size);
    for (let index = 0; index < size; index++) bytes[index] = value >>> (index * 8);
    this.device.writeConfig?.(at, bytes);
    this.registers.publishConfig(this.device.config);
  }

  #reset(): void {
    this.#failure = undefined;
    this.#active = false;
    this.#stopQueues();
    this.device.reset();
  }

  #stopQueues(): void {
    for (const [index, queue] of this.#queues.entries()) {
      if (queue === undefined) continue;
      queue.close();
      this.#carried[index] = added(this.#carried[index], queue.counters());
      this.#draining.push(queue);
    }
    this.#draining = this.#draining.filter(({ inFlight }) => inFlight > 0);
    this.#queues = [];
  }

  #fail(reason: Error, resetCount: number): void {
    for (const queue of this.#queues) queue?.close();
    if (this.#failure !== undefined || this.#closed) return;
    this.#failure = reason;
    if (this.registers.markNeedsReset(resetCount)) this.#raise(VIRTIO_MMIO_INT_CONFIG);
    this.#onFailure?.(reason);
  }

  #raise(interruptStatus: number): void {
    if (this.#closed) return;
    this.registers.raise(interruptStatus);
    this.#interrupts += 1;
    this.#interrupt();
  }
}

const NOTHING: QueueCounters = { requests: 0, bytesFromGuest: 0, bytesToGuest: 0 };

function added(a = NOTHING, b = NOTHING): QueueCounters {
  return {
    requests: a.requests + b.requests,
    bytesFromGuest: a.bytesFromGuest + b.bytesFromGuest,
    bytesToGuest: a.bytesToGuest + b.bytesToGuest,
  };
}
