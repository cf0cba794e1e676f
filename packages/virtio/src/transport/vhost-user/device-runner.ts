import { setTimeout as sleep } from "node:timers/promises";
import type { VirtioDevice } from "../../device/device.js";
import { VIRTIO_F_VERSION_1 } from "../../feature.js";
import type { RingPlacement } from "../../queue/ring-views.js";
import { Virtqueue } from "../../queue/virtqueue.js";
import { VhostUserError } from "./error.js";
import { type MemoryRegion, MemoryTable, unmapWhenIdle } from "./memory-table.js";
import { Vring } from "./vring.js";

/**
 * How long a front-end that stops rings waits at most for asynchronous requests to finish. One that takes longer, such as
 * waiting for a file lock, is answered when its ring runs again.
 */
const DRAIN_MS = 2000;

/**
 * Runs a device on the rings and memory that a front-end describes. vhost-user has no single moment
 * at which the driver is ready: the device is activated at the first doorbell of an enabled ring.
 *
 * Nor does it tell whether rings stop because the driver resets the device or because the virtual machine is paused. So
 * the device keeps all its state, and the next start tells: the rings of a driver that only paused are where
 * they were, with the base that was answered when they stopped; those of a new one begin at 0.
 */
export class DeviceRunner implements Disposable {
  readonly rings: readonly Vring[];
  /** The feature bits that the driver accepted. */
  features = 0n;
  readonly #device: VirtioDevice;
  readonly #memory = new MemoryTable();
  readonly #raiseConfigChange: () => void;
  readonly #warn: (message: string) => void;
  /** The features with which the device is active. */
  #activeFeatures = 0n;
  /** Queues of this activation, and of earlier ones that still have requests in flight. */
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

  /** Starts a ring whose doorbell is `kick`, of which it takes ownership. */
  startRing(ring: Vring, kick: number): void {
    ring.start(kick, () => this.doorbell(ring));
    this.#proceed(ring);
  }

  /** Lets the device work on a ring or not; a doorbell that came too early is not lost. */
  enable(ring: Vring, enabled: boolean): void {
    ring.enabled = enabled;
    if (enabled) this.#proceed(ring);
    else ring.queue?.quiesce();
  }

  /** Stops one ring after its requests in flight are done. */
  async stopRing(ring: Vring): Promise<void> {
    ring.mute();
    this.#rung.delete(ring);
    const { queue } = ring;
    if (queue !== undefined && ring.running) {
      queue.quiesce();
      await this.#drain([queue]);
      // Meanwhile the front-end may have gone, or the device broken.
      if (ring.queue === queue) ring.stop();
    }
    // A device that broke has nothing to keep: it begins anew with the next driver.
    if (this.#state === "broken" && !this.rings.some(({ configured }) => configured)) this.#rest();
  }

  /** Maps one more region of guest memory. Takes ownership of `fd`. */
  addMemory(region: MemoryRegion, fd: number): void {
    this.#memory.add(region, fd);
    // What queues use of the other regions stays where it is.
    this.#memory.guestMemory();
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
    for (const ring of this.rings) ring.mute();
    this.#rung.clear();
    this.#rest();
  }

  async #changeMemory(change: () => void): Promise<void> {
    const wasActive = this.#state === "active";
    if (wasActive) {
      this.#state = "changing";
      for (const ring of this.rings) ring.queue?.quiesce();
      await this.#drain(this.#queues);
      // Meanwhile the front-end may have gone, and taken everything down.
      if (this.#state !== "changing") return;
      for (const ring of this.rings) ring.queue?.suspend();
    }
    change();
    this.#memory.guestMemory();
    if (!wasActive) return;
    this.#state = "active";
    for (const ring of this.rings) this.#proceed(ring);
  }

  /** Lets a ring that was started or enabled, or whose memory has changed, run on. */
  #proceed(ring: Vring): void {
    if (!ring.configured || !ring.enabled) return;
    if (this.#state === "active" && ring.queue !== undefined) {
      if (this.#isAsItWas()) {
        this.#resume(ring);
        return;
      }
      const wasRunning = this.rings.some(({ running }) => running);
      this.#rest();
      if (wasRunning) this.#rung.add(ring);
    }
    if (this.#rung.delete(ring)) this.doorbell(ring);
  }

  /** Whether the rings that are started are where they were: whether the driver is still the same. */
  #isAsItWas(): boolean {
    return (
      this.features === this.#activeFeatures &&
      this.rings.every((ring) => {
        const { queue, stoppedAt, base } = ring;
        if (queue === undefined || !ring.configured) return true;
        if (stoppedAt !== undefined && stoppedAt !== base) return false;
        try {
          return queue.isAt(this.#placementOf(ring));
        } catch {
          // It lies in memory that is gone. To activate the device fails then, and says so.
          return false;
        }
      })
    );
  }

  #resume(ring: Vring): void {
    this.#rung.delete(ring);
    try {
      ring.resume();
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#notify(ring);
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
      this.#activeFeatures = this.features;
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
    for (const ring of started) {
      if (!ring.enabled) continue;
      this.#rung.delete(ring);
      this.#notify(ring);
    }
  }

  #attach(ring: Vring, memory: ReturnType<MemoryTable["guestMemory"]>): void {
    ring.queue = new Virtqueue(memory, {
      ...this.#placementOf(ring),
      features: this.features,
      interrupt: ring.interrupt,
      fail: this.#fail,
      lastAvailableIndex: ring.base,
    });
    if (!ring.enabled) ring.queue.quiesce();
    this.#queues.push(ring.queue);
  }

  #placementOf({ index, size, addresses }: Vring): RingPlacement {
    if (addresses === undefined) {
      throw new VhostUserError("ERR_VIRTIO_VHOST_USER_STATE", `ring ${index} has no addresses`);
    }
    return {
      size,
      descriptorTable: this.#memory.toGuestAddress(addresses.descriptorTable),
      availableRing: this.#memory.toGuestAddress(addresses.availableRing),
      usedRing: this.#memory.toGuestAddress(addresses.usedRing),
    };
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
        this.#warn(
          `requests take longer than ${DRAIN_MS} ms, and are answered when the rings run again`,
        );
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
