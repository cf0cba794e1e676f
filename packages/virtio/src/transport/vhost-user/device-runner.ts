import { setTimeout as sleep } from "node:timers/promises";
import type { VirtioDevice } from "../../device/device.js";
import { VIRTIO_F_VERSION_1 } from "../../feature.js";
import { Virtqueue } from "../../queue/virtqueue.js";
import { VhostUserError } from "./error.js";
import { type MemoryRegion, MemoryTable, unmapWhenIdle } from "./memory-table.js";
import { Vring } from "./vring.js";

/** How long a front-end that stops rings waits at most for asynchronous requests to finish. */
const DRAIN_MS = 2000;

/**
 * Runs a device on the rings and memory that a front-end describes. vhost-user has no single moment
 * at which the driver is ready: the device is activated at the first doorbell of an enabled ring (or
 * DRIVER_OK, from front-ends that tell), and again when rings or memory have changed.
 */
export class DeviceRunner implements Disposable {
  readonly rings: readonly Vring[];
  /** The feature bits that the driver accepted. */
  features = 0n;
  readonly #device: VirtioDevice;
  readonly #memory = new MemoryTable();
  readonly #raiseConfigChange: () => void;
  readonly #warn: (message: string) => void;
  /** Queues of this and earlier activations that still have requests in flight. */
  #queues: Virtqueue[] = [];
  #state: "idle" | "active" | "changing" | "broken" = "idle";
  readonly #rung = new Set<Vring>();

  constructor(
    device: VirtioDevice,
    raiseConfigChange: () => void,
    warn: (message: string) => void,
  ) {
    this.#device = device;
    this.#raiseConfigChange = raiseConfigChange;
    this.#warn = warn;
    this.rings = device.queueSizes.map((_, index) => new Vring(index));
  }

  /** The rings of this device are broken, and nothing happens until the driver resets it. */
  get broken(): boolean {
    return this.#state === "broken";
  }

  readonly doorbell = (ring: Vring): void => {
    if (!ring.enabled || this.#state === "changing") {
      this.#rung.add(ring);
    } else if (this.#state === "idle") {
      this.#activate();
    } else if (this.#state === "active") {
      if (ring.queue !== undefined) this.#notify(ring);
      else this.#restart(ring);
    }
  };

  /** The driver says it is ready, before or after its first doorbell. */
  driverReady(): void {
    if (this.#state === "idle" && this.rings.some((r) => r.configured && r.enabled))
      this.#activate();
  }

  /** Lets the device work on a ring; a doorbell that came too early is not lost. */
  enable(ring: Vring, enabled: boolean): void {
    ring.enabled = enabled;
    if (enabled && this.#rung.delete(ring)) this.doorbell(ring);
  }

  /** Stops one ring after its requests in flight are done; the device rests when none is left. */
  async stopRing(ring: Vring): Promise<void> {
    ring.mute();
    this.#rung.delete(ring);
    if (ring.queue !== undefined) await this.#drain([ring.queue]);
    ring.detach();
    if (this.rings.every(({ queue }) => queue === undefined)) this.#rest();
  }

  /** Maps one more region of guest memory. Takes ownership of `fd`. */
  async addMemory(region: MemoryRegion, fd: number): Promise<void> {
    this.#memory.add(region, fd);
    await this.#changeMemory(() => {});
  }

  /** Takes a region of guest memory out of use and unmaps it. */
  async removeMemory(region: MemoryRegion): Promise<void> {
    await this.#changeMemory(() => this.#retire([this.#memory.remove(region)]));
  }

  /** Replaces all guest memory. `takeFd` gives the file of one region after the other, to be owned. */
  async replaceMemory(regions: readonly MemoryRegion[], takeFd: () => number): Promise<void> {
    await this.#changeMemory(() => {
      this.#retire(this.#memory.clear());
      for (const region of regions) this.#memory.add(region, takeFd());
    });
  }

  /** The driver, or the front-end for it, resets the device: all rings stop where they are. */
  reset(): void {
    for (const ring of this.rings) ring.stop();
    this.#rung.clear();
    this.#rest();
  }

  async #changeMemory(change: () => void): Promise<void> {
    const wasActive = this.#state === "active";
    if (wasActive) {
      this.#state = "changing";
      await this.#drain(this.#queues);
      // Meanwhile the front-end may have gone, and taken everything down.
      if (this.#state !== "changing") return;
      this.#rest();
    }
    change();
    if (wasActive) this.#activate();
  }

  #activate(): void {
    const started = this.rings.filter((ring) => ring.configured);
    try {
      if ((this.features & VIRTIO_F_VERSION_1) === 0n) {
        throw new VhostUserError(
          "ERR_VIRTIO_VHOST_USER_STATE",
          "the driver did not accept VIRTIO_F_VERSION_1; " +
            "QEMU's virtio-mmio needs -global virtio-mmio.force-legacy=false",
        );
      }
      const memory = this.#memory.guestMemory();
      for (const ring of started) this.#attach(ring, memory);
      this.#state = "active";
      this.#device.activate({
        memory,
        queues: this.rings.map(({ queue }) => queue),
        features: this.features,
        raiseConfigChange: this.#raiseConfigChange,
        fail: this.#fail,
      });
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#rung.clear();
    for (const ring of started) if (ring.enabled) this.#notify(ring);
  }

  #attach(ring: Vring, memory: ReturnType<MemoryTable["guestMemory"]>): void {
    if (ring.addresses === undefined) return;
    const { descriptorTable, availableRing, usedRing } = ring.addresses;
    ring.queue = new Virtqueue(memory, {
      size: ring.size,
      descriptorTable: this.#memory.toGuestAddress(descriptorTable),
      availableRing: this.#memory.toGuestAddress(availableRing),
      usedRing: this.#memory.toGuestAddress(usedRing),
      features: this.features,
      interrupt: ring.interrupt,
      fail: this.#fail,
      lastAvailableIndex: ring.base,
    });
    this.#queues.push(ring.queue);
  }

  /** A ring was started while the device runs without it: begin again with all of them. */
  #restart(ring: Vring): void {
    if (this.#queues.some(({ inFlight }) => inFlight > 0)) {
      setTimeout(this.doorbell, 1, ring).unref();
      return;
    }
    this.#rest();
    this.#activate();
  }

  #notify(ring: Vring): void {
    try {
      this.#device.notify(ring.index);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Takes the rings away from the device. */
  #rest(): void {
    for (const ring of this.rings) ring.detach();
    this.#queues = this.#queues.filter(({ inFlight }) => inFlight > 0);
    this.#state = "idle";
    this.#device.reset();
  }

  #retire(mappings: Parameters<typeof unmapWhenIdle>[0]): void {
    unmapWhenIdle(mappings, this.#queues);
  }

  async #drain(queues: readonly Virtqueue[]): Promise<void> {
    const deadline = performance.now() + DRAIN_MS;
    while (queues.some(({ inFlight }) => inFlight > 0)) {
      if (performance.now() > deadline) {
        this.#warn(`requests were still in flight ${DRAIN_MS} ms after the rings were stopped`);
        return;
      }
      await sleep(1);
    }
  }

  readonly #fail = (reason: unknown): void => {
    if (this.#state === "broken") return;
    this.#state = "broken";
    this.#warn(`the device stops until it is reset: ${String(reason)}`);
    for (const ring of this.rings) {
      ring.detach();
      ring.signalError();
    }
  };

  /** Ends everything at once: the front-end is gone. */
  [Symbol.dispose](): void {
    for (const ring of this.rings) ring[Symbol.dispose]();
    this.#rung.clear();
    this.#rest();
    this.#retire(this.#memory.clear());
  }
}
