import { VirtqueueError } from "../error.js";
import { VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC } from "../feature.js";
import type { GuestMemory } from "../memory/guest-memory.js";
import { DescriptorChain } from "./descriptor-chain.js";
import {
  MAX_QUEUE_SIZE,
  needsEvent,
  VRING_AVAIL_F_NO_INTERRUPT,
  VRING_DESC_F_INDIRECT,
  VRING_DESC_F_NEXT,
  VRING_DESC_F_WRITE,
  VRING_USED_F_NO_NOTIFY,
  vringAvail,
  vringDesc,
  vringUsed,
  vringUsedElem,
} from "./ring-layout.js";
import { type RingPlacement, viewRings } from "./ring-views.js";

/** Where the driver put a queue and how the device answers on it. */
export interface VirtqueueOptions extends RingPlacement {
  /** The negotiated feature bits. */
  readonly features: bigint;
  /** Tells the driver that there are used buffers; called only when it wants to hear of them. */
  readonly interrupt: () => void;
  /** Hears once why the ring cannot be used any more: the device needs a reset. */
  readonly fail?: (reason: VirtqueueError) => void;
  /** Next available-ring entry to take; default 0. Free-running, 0 to 65535. */
  readonly lastAvailableIndex?: number;
  /** Next used-ring entry to fill; the default is the index found in the ring. Free-running, 0 to 65535. */
  readonly usedIndex?: number;
}

/** What a queue has carried. */
export interface QueueCounters {
  /** Requests handed back to the driver. */
  readonly requests: number;
  /** Bytes of those requests that the device could read: headers and data, as for a disk's writes. */
  readonly bytesFromGuest: number;
  /** Bytes that the device wrote. */
  readonly bytesToGuest: number;
}

/** An indirect table is not bounded by the queue's size in practice; this is QEMU's bound. */
const MAX_INDIRECT_DESCRIPTORS = 1024;

/** Section 2.7.5: a chain describes at most 2^32 bytes; one less keeps lengths in a u32. */
const MAX_CHAIN_BYTES = 0xffff_ffff;
/** Bytes of a chain in memory that is copied: twice what Linux puts into a request to a file system. */
const MAX_COPIED_BYTES = 2 << 20;

/**
 * The device side of a split virtqueue (virtio 1.2, section 2.7).
 *
 * A device drains it like this, and misses no request:
 * ```ts
 * do {
 *   queue.disableNotifications();
 *   for (let chain = queue.pop(); chain; chain = queue.pop()) queue.addUsed(chain, serve(chain));
 *   queue.notifyUsed();
 * } while (queue.enableNotifications());
 * ```
 * Nothing the driver puts into the ring throws. A broken ring calls `fail`, and from then on the queue
 * is empty for ever.
 *
 * Ordering: the driver runs on other threads. Ring indexes are read and published with `Atomics`, so
 * what was written before an index is seen by whoever reads that index, and the store of
 * `avail_event` comes before the load of the available index that decides whether to sleep.
 */
export class Virtqueue {
  /** Number of descriptors. */
  readonly size: number;
  readonly #memory: GuestMemory;
  readonly #indirect: boolean;
  readonly #eventIndex: boolean;
  readonly #interrupt: () => void;
  readonly #fail: ((reason: VirtqueueError) => void) | undefined;

  readonly #placement: RingPlacement;

  #descriptors: DataView;
  #descriptorsAt: number;
  /** The rings as u16 elements; every `#...At` below is an index into these. */
  #available: Uint16Array;
  #availableAt: number;
  #used: Uint16Array;
  #usedAt: number;
  #usedData: DataView;

  readonly #pool: DescriptorChain[] = [];
  #inFlight = 0;
  #requests = 0;
  #bytesFromGuest = 0;
  #bytesToGuest = 0;
  /** Whether requests are taken. */
  #taking = true;
  /** Whether the rings are left alone: suspended, closed or broken. */
  #stopped = false;
  /** While suspended: what was handed back, for the driver to see later. */
  #late: { readonly head: number; readonly bytesWritten: number }[] | undefined;
  #lastAvailableIndex: number;
  /** The available index as last seen, so that a batch loads it once. */
  #availableIndex: number;
  #usedIndex: number;
  /** The used index when the driver was last considered for an interrupt. */
  #signalledIndex: number;
  /** After a restore nobody knows what the driver was told last: the first batch interrupts. */
  #everSignalled = false;

  /** @throws VirtqueueError `ERR_VIRTIO_QUEUE_GEOMETRY` for a size, address or alignment the specification forbids. */
  constructor(memory: GuestMemory, options: VirtqueueOptions) {
    const { size, descriptorTable, availableRing, usedRing } = options;
    const views = viewRings(memory, options);
    this.size = size;
    this.#memory = memory;
    this.#placement = { size, descriptorTable, availableRing, usedRing };
    this.#indirect = (options.features & VIRTIO_RING_F_INDIRECT_DESC) !== 0n;
    this.#eventIndex = (options.features & VIRTIO_RING_F_EVENT_IDX) !== 0n;
    this.#interrupt = options.interrupt;
    this.#fail = options.fail;
    this.#descriptors = views.descriptors;
    this.#descriptorsAt = views.descriptorsAt;
    this.#available = views.available;
    this.#availableAt = views.availableAt;
    this.#used = views.used;
    this.#usedAt = views.usedAt;
    this.#usedData = views.usedData;
    this.#lastAvailableIndex = (options.lastAvailableIndex ?? 0) & 0xffff;
    this.#availableIndex = this.#lastAvailableIndex;
    this.#usedIndex = (options.usedIndex ?? Atomics.load(this.#used, this.#usedIndexAt)) & 0xffff;
    this.#signalledIndex = this.#usedIndex;
  }

  /** Next available-ring entry to take, free-running 0 to 65535: what a snapshot or GET_VRING_BASE keeps. */
  get lastAvailableIndex(): number {
    return this.#lastAvailableIndex;
  }

  /** Next used-ring entry to fill, free-running 0 to 65535. */
  get usedIndex(): number {
    return this.#usedIndex;
  }

  /** Chains popped and not yet handed back. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** What the queue has carried since it was made. */
  counters(): QueueCounters {
    return {
      requests: this.#requests,
      bytesFromGuest: this.#bytesFromGuest,
      bytesToGuest: this.#bytesToGuest,
    };
  }

  /** Whether the queue was closed, suspended or found broken. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Takes the next request; `undefined` when there is none, or the queue is stopped. */
  pop(): DescriptorChain | undefined {
    if (!this.hasAvailable()) return undefined;
    if (this.#inFlight >= this.size) {
      return this.#broken(`more than ${this.size} chains in flight`);
    }
    const slot = this.#lastAvailableIndex & (this.size - 1);
    const head = this.#available[this.#availableAt + (vringAvail.size >>> 1) + slot] ?? 0;
    const chain = this.#pool.pop() ?? new DescriptorChain(this.#complete);
    chain.head = head;
    if (!this.#walk(chain, head)) {
      chain.clear();
      return undefined;
    }
    this.#lastAvailableIndex = (this.#lastAvailableIndex + 1) & 0xffff;
    this.#inFlight += 1;
    chain.inFlight = true;
    return chain;
  }

  /** Whether `pop()` has something to take. */
  hasAvailable(): boolean {
    if (!this.#taking) return false;
    if (this.#availableIndex !== this.#lastAvailableIndex) return true;
    const index = Atomics.load(this.#available, this.#availableIndexAt);
    const added = (index - this.#lastAvailableIndex) & 0xffff;
    if (added > this.size) {
      this.#broken(`available index jumped by ${added}`);
      return false;
    }
    this.#availableIndex = index;
    return added > 0;
  }

  /**
   * Puts back the chain popped last, so that the next `pop()` takes it again: for a device that finds
   * it cannot serve the request yet.
   */
  unpop(chain: DescriptorChain): void {
    if (!this.#release(chain) && this.#late === undefined) return;
    this.#lastAvailableIndex = (this.#lastAvailableIndex - 1) & 0xffff;
  }

  /**
   * Hands a chain back to the driver; `bytesWritten` counts from the start of its writable bytes.
   * After the queue was closed or broke, does nothing; while it is suspended, the driver does not see it yet.
   *
   * @throws VirtqueueError `ERR_VIRTIO_CHAIN_NOT_IN_FLIGHT` for a chain handed back before: a device's bug.
   */
  addUsed(chain: DescriptorChain, bytesWritten: number): void {
    const { head, readableLength } = chain;
    if (chain.copies.length > 0) chain.writeBack();
    const running = this.#release(chain);
    if (!running && this.#late === undefined) return;
    this.#requests += 1;
    this.#bytesFromGuest += readableLength;
    this.#bytesToGuest += bytesWritten;
    if (running) this.#publish(head, bytesWritten);
    else this.#late?.push({ head, bytesWritten });
  }

  #publish(head: number, bytesWritten: number): void {
    const slot = this.#usedIndex & (this.size - 1);
    const at = this.#usedAt * 2 + vringUsed.size + slot * vringUsedElem.size;
    this.#usedData.setUint32(at + vringUsedElem.offsets.id, head, true);
    this.#usedData.setUint32(at + vringUsedElem.offsets.len, bytesWritten, true);
    this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
    Atomics.store(this.#used, this.#usedIndexAt, this.#usedIndex);
  }

  /** Interrupts the driver when chains were handed back since the last call and it wants to know (section 2.7.7). */
  notifyUsed(): void {
    if (this.#stopped || this.#usedIndex === this.#signalledIndex) return;
    const before = this.#signalledIndex;
    this.#signalledIndex = this.#usedIndex;
    if (this.#driverWantsInterrupt(before)) this.#interrupt();
  }

  /**
   * Asks the driver for a doorbell at its next request. Answers `true` when requests arrived before
   * the driver could know: pop again.
   */
  enableNotifications(): boolean {
    if (this.#stopped) return false;
    if (this.#eventIndex) {
      Atomics.store(this.#used, this.#availEventAt, this.#lastAvailableIndex);
    } else {
      Atomics.store(this.#used, this.#usedFlagsAt, 0);
    }
    return this.hasAvailable();
  }

  /** Lets the driver skip doorbells; a hint, it may still ring. */
  disableNotifications(): void {
    // With event indexes a stale avail_event has the same effect, so there is nothing to write.
    if (this.#stopped || this.#eventIndex) return;
    Atomics.store(this.#used, this.#usedFlagsAt, VRING_USED_F_NO_NOTIFY);
  }

  /** Takes no more requests until {@link resume}; those in flight are handed back as ever. */
  quiesce(): void {
    this.#taking = false;
  }

  /** Leaves the rings alone until {@link resume}: the driver sees then what is handed back meanwhile. */
  suspend(): void {
    if (this.#stopped) return;
    this.#taking = false;
    this.#stopped = true;
    this.#late = [];
  }

  /**
   * Goes on where the queue was quiesced or suspended, with guest memory as it is now. Without effect on one that
   * was closed or broke.
   *
   * @throws VirtqueueError `ERR_VIRTIO_QUEUE_GEOMETRY` when memory has no room for the rings any more.
   */
  resume(): void {
    const late = this.#late;
    if (this.#stopped && late === undefined) return;
    if (late !== undefined) {
      const views = viewRings(this.#memory, this.#placement);
      this.#descriptors = views.descriptors;
      this.#descriptorsAt = views.descriptorsAt;
      this.#available = views.available;
      this.#availableAt = views.availableAt;
      this.#used = views.used;
      this.#usedAt = views.usedAt;
      this.#usedData = views.usedData;
      this.#late = undefined;
      this.#stopped = false;
      for (const { head, bytesWritten } of late) this.#publish(head, bytesWritten);
      this.notifyUsed();
    }
    this.#availableIndex = this.#lastAvailableIndex;
    this.#taking = true;
  }

  /** Whether the driver has the queue where `placement` says. */
  isAt({ size, descriptorTable, availableRing, usedRing }: RingPlacement): boolean {
    const own = this.#placement;
    return (
      own.size === size &&
      own.descriptorTable === descriptorTable &&
      own.availableRing === availableRing &&
      own.usedRing === usedRing
    );
  }

  /** Ends all access to the rings; chains in flight are forgotten when they are handed back. */
  close(): void {
    this.#taking = false;
    this.#stopped = true;
    this.#late = undefined;
  }

  readonly #complete = (chain: DescriptorChain, bytesWritten: number): void => {
    this.addUsed(chain, bytesWritten);
    this.notifyUsed();
  };

  get #availableIndexAt(): number {
    return this.#availableAt + (vringAvail.offsets.idx >>> 1);
  }

  get #usedIndexAt(): number {
    return this.#usedAt + (vringUsed.offsets.idx >>> 1);
  }

  get #usedFlagsAt(): number {
    return this.#usedAt + (vringUsed.offsets.flags >>> 1);
  }

  get #availEventAt(): number {
    return this.#usedAt + ((vringUsed.size + vringUsedElem.size * this.size) >>> 1);
  }

  get #usedEventAt(): number {
    return this.#availableAt + (vringAvail.size >>> 1) + this.size;
  }

  #driverWantsInterrupt(signalledBefore: number): boolean {
    if (!this.#eventIndex) {
      const flags = Atomics.load(
        this.#available,
        this.#availableAt + (vringAvail.offsets.flags >>> 1),
      );
      return (flags & VRING_AVAIL_F_NO_INTERRUPT) === 0;
    }
    const usedEvent = Atomics.load(this.#available, this.#usedEventAt);
    if (this.#everSignalled) return needsEvent(usedEvent, this.#usedIndex, signalledBefore);
    this.#everSignalled = true;
    return true;
  }

  /** Fills `chain` from the descriptors at `head`; `false` when they are invalid (and the queue broken). */
  #walk(chain: DescriptorChain, head: number): boolean {
    let table = this.#descriptors;
    let tableAt = this.#descriptorsAt;
    let count = this.size;
    let limit = this.size;
    let inIndirectTable = false;
    let index = head;
    for (let walked = 0; ; walked++) {
      if (index >= count) return this.#invalid(`descriptor ${index} of a table of ${count}`);
      if (walked >= limit)
        return this.#invalid(`chain longer than ${limit} descriptors, or a loop`);
      const at = tableAt + index * vringDesc.size;
      // Each field is read once: the driver may rewrite descriptors meanwhile.
      const address =
        table.getUint32(at + vringDesc.offsets.addr, true) +
        table.getUint32(at + vringDesc.offsets.addr + 4, true) * 2 ** 32;
      const length = table.getUint32(at + vringDesc.offsets.len, true);
      const flags = table.getUint16(at + vringDesc.offsets.flags, true);
      const next = table.getUint16(at + vringDesc.offsets.next, true);

      if (flags & VRING_DESC_F_INDIRECT) {
        if (!this.#indirect) return this.#invalid("indirect descriptor, not negotiated");
        if (inIndirectTable) return this.#invalid("indirect table inside an indirect table");
        if (flags & VRING_DESC_F_NEXT) return this.#invalid("indirect descriptor with a next one");
        const view = this.#memory.region(address, length);
        if (view === undefined) {
          return this.#invalid(`indirect table of ${length} bytes at 0x${address.toString(16)}`);
        }
        count = length / vringDesc.size;
        if (!Number.isInteger(count) || count < 1 || count > MAX_QUEUE_SIZE) {
          return this.#invalid(`indirect table of ${length} bytes`);
        }
        table = view.data;
        tableAt = address - view.guestAddress;
        limit = walked + 1 + Math.max(this.size, MAX_INDIRECT_DESCRIPTORS);
        inIndirectTable = true;
        index = 0;
        continue;
      }
      if (!this.#append(chain, address, length, (flags & VRING_DESC_F_WRITE) !== 0)) return false;
      if ((flags & VRING_DESC_F_NEXT) === 0) return true;
      index = next;
    }
  }

  #append(
    chain: DescriptorChain,
    address: number,
    length: number,
    deviceWritable: boolean,
  ): boolean {
    if (length === 0) return this.#invalid("empty buffer");
    if (chain.readableLength + chain.writableLength + length > MAX_CHAIN_BYTES) {
      return this.#invalid("chain of more than 2^32 bytes");
    }
    if (!deviceWritable && chain.writableLength > 0) {
      return this.#invalid("device-readable buffer after a device-writable one");
    }
    const buffers = deviceWritable ? chain.writable : chain.readable;
    const found =
      this.#memory.collect(address, length, buffers) ||
      this.#copy(chain, address, length, deviceWritable);
    if (!found) {
      return this.#invalid(`buffer of ${length} bytes at 0x${address.toString(16)}`);
    }
    if (deviceWritable) chain.writableLength += length;
    else chain.readableLength += length;
    return true;
  }

  #copy(chain: DescriptorChain, address: number, length: number, writable: boolean): boolean {
    const memory = this.#memory.copied(address, length);
    if (memory === undefined || chain.copiedLength + length > MAX_COPIED_BYTES) return false;
    const bytes = new Uint8Array(length);
    const offset = address - memory.guestAddress;
    // Also what the device is to write: it may write a part.
    if (!memory.read(offset, bytes)) return false;
    chain.copiedLength += length;
    if (writable) {
      chain.writable.push(bytes);
      chain.copies.push({ memory, offset, bytes });
    } else chain.readable.push(bytes);
    return true;
  }

  #release(chain: DescriptorChain): boolean {
    if (!chain.inFlight) {
      throw new VirtqueueError(
        "ERR_VIRTIO_CHAIN_NOT_IN_FLIGHT",
        `descriptor chain ${chain.head} was handed back before`,
      );
    }
    chain.inFlight = false;
    chain.clear();
    this.#inFlight -= 1;
    this.#pool.push(chain);
    return !this.#stopped;
  }

  #invalid(detail: string): false {
    this.#broken(detail);
    return false;
  }

  #broken(detail: string): undefined {
    const reason = new VirtqueueError(
      "ERR_VIRTIO_QUEUE_CORRUPT",
      `virtqueue at available index ${this.#lastAvailableIndex}: ${detail}; the driver must reset the device`,
    );
    this.close();
    this.#fail?.(reason);
    return undefined;
  }
}
