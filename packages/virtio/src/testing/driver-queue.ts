import { VIRTIO_RING_F_EVENT_IDX } from "../feature.js";
import type { GuestMemory } from "../memory/guest-memory.js";
import {
  availableRingSize,
  needsEvent,
  usedRingSize,
  VRING_AVAIL_F_NO_INTERRUPT,
  VRING_DESC_F_INDIRECT,
  VRING_DESC_F_NEXT,
  VRING_DESC_F_WRITE,
  VRING_USED_F_NO_NOTIFY,
  vringAvail,
  vringDesc,
  vringUsed,
  vringUsedElem,
} from "../queue/ring-layout.js";
import type { GuestHeap } from "./guest-heap.js";

interface Buffer {
  readonly address: number;
  readonly length: number;
}

interface Request {
  readonly descriptors: readonly number[];
  readonly buffers: readonly Buffer[];
  readonly writable: readonly Buffer[];
  readonly table: Buffer | undefined;
}

/** A request that the device handed back. */
export interface Completion {
  readonly head: number;
  /** The length in the used ring. */
  readonly written: number;
  /** A copy of the first `written` writable bytes. */
  readonly data: Uint8Array;
}

/** The driver side of a split virtqueue, built in guest memory as a kernel would (section 2.7). */
export class DriverQueue {
  readonly size: number;
  readonly memory: GuestMemory;
  /** Guest addresses, for a test that breaks the rings by hand. */
  readonly descriptorTable: number;
  readonly availableRing: number;
  readonly usedRing: number;
  readonly #heap: GuestHeap;
  readonly #eventIndex: boolean;
  readonly #freeDescriptors: number[];
  readonly #requests = new Map<number, Request>();
  #availableIndex = 0;
  #notifiedIndex = 0;
  #usedIndex = 0;

  constructor(heap: GuestHeap, size: number, features: bigint) {
    this.size = size;
    this.memory = heap.memory;
    this.#heap = heap;
    this.#eventIndex = (features & VIRTIO_RING_F_EVENT_IDX) !== 0n;
    this.descriptorTable = heap.allocate(vringDesc.size * size);
    this.availableRing = heap.allocate(availableRingSize(size));
    this.usedRing = heap.allocate(usedRingSize(size));
    this.#freeDescriptors = Array.from({ length: size }, (_, index) => size - 1 - index);
  }

  /** Descriptors not in use. */
  get free(): number {
    return this.#freeDescriptors.length;
  }

  /** Requests the device still has. */
  get outstanding(): number {
    return this.#requests.size;
  }

  /**
   * Puts a request into the ring and answers its head: a copy of each of `readable`, then room for
   * each length of `writable`, by default in an indirect table when `indirect` is set.
   */
  submit(
    readable: readonly Uint8Array[],
    writable: readonly number[] = [],
    options: { readonly indirect?: boolean } = {},
  ): number {
    const inputs = readable.map((bytes) => {
      const address = this.#heap.allocate(bytes.length);
      this.memory.slice(address, bytes.length)?.set(bytes);
      return { address, length: bytes.length };
    });
    const outputs = writable.map((length) => ({ address: this.#heap.allocate(length), length }));
    const buffers = [...inputs, ...outputs];
    const table = options.indirect
      ? {
          address: this.#heap.allocate(buffers.length * vringDesc.size),
          length: buffers.length * vringDesc.size,
        }
      : undefined;
    const descriptors = this.#takeDescriptors(table ? 1 : buffers.length);
    const head = descriptors[0] ?? 0;
    if (table) this.writeDescriptor(head, table.address, table.length, VRING_DESC_F_INDIRECT, 0);
    for (const [position, buffer] of buffers.entries()) {
      const isLast = position === buffers.length - 1;
      const flags =
        (isLast ? 0 : VRING_DESC_F_NEXT) | (position < inputs.length ? 0 : VRING_DESC_F_WRITE);
      const index = table ? position : (descriptors[position] ?? 0);
      const next = isLast ? 0 : table ? position + 1 : (descriptors[position + 1] ?? 0);
      this.writeDescriptor(index, buffer.address, buffer.length, flags, next, table?.address);
    }
    this.#requests.set(head, { descriptors, buffers, writable: outputs, table });
    this.publish(head);
    return head;
  }

  /** Writes one descriptor, unchecked. */
  writeDescriptor(
    index: number,
    address: number,
    length: number,
    flags: number,
    next: number,
    table = this.descriptorTable,
  ): void {
    const at = table + index * vringDesc.size;
    this.memory.writeU64(at + vringDesc.offsets.addr, address);
    this.memory.writeU32(at + vringDesc.offsets.len, length);
    this.memory.writeU16(at + vringDesc.offsets.flags, flags);
    this.memory.writeU16(at + vringDesc.offsets.next, next);
  }

  /** Makes a head available, unchecked. */
  publish(head: number): void {
    const slot = this.#availableIndex % this.size;
    this.memory.writeU16(this.availableRing + vringAvail.size + 2 * slot, head);
    this.#availableIndex = (this.#availableIndex + 1) & 0xffff;
    this.memory.writeU16(this.availableRing + vringAvail.offsets.idx, this.#availableIndex);
  }

  /** Whether the device wants a doorbell for what was submitted since the last call. */
  shouldNotify(): boolean {
    const before = this.#notifiedIndex;
    this.#notifiedIndex = this.#availableIndex;
    if (!this.#eventIndex) {
      const flags = this.memory.readU16(this.usedRing + vringUsed.offsets.flags) ?? 0;
      return (flags & VRING_USED_F_NO_NOTIFY) === 0;
    }
    const availEvent = this.usedRing + vringUsed.size + vringUsedElem.size * this.size;
    return needsEvent(this.memory.readU16(availEvent) ?? 0, this.#availableIndex, before);
  }

  /** Asks for an interrupt at the next completion, or for none. */
  wantInterrupts(wanted: boolean): void {
    if (this.#eventIndex) {
      const usedEvent = this.availableRing + vringAvail.size + 2 * this.size;
      this.memory.writeU16(usedEvent, wanted ? this.#usedIndex : (this.#usedIndex - 1) & 0xffff);
    } else {
      const flags = wanted ? 0 : VRING_AVAIL_F_NO_INTERRUPT;
      this.memory.writeU16(this.availableRing + vringAvail.offsets.flags, flags);
    }
  }

  /** Takes what the device handed back, in its order. Throws when it handed back what it did not have. */
  collect(): Completion[] {
    const completions: Completion[] = [];
    const end = this.memory.readU16(this.usedRing + vringUsed.offsets.idx) ?? 0;
    while (this.#usedIndex !== end) {
      const at =
        this.usedRing + vringUsed.size + (this.#usedIndex % this.size) * vringUsedElem.size;
      const head = this.memory.readU32(at + vringUsedElem.offsets.id) ?? 0;
      const written = this.memory.readU32(at + vringUsedElem.offsets.len) ?? 0;
      this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
      completions.push({ head, written, data: this.#retire(head, written) });
    }
    return completions;
  }

  #takeDescriptors(count: number): number[] {
    if (count > this.free) throw new RangeError(`${count} descriptors wanted, ${this.free} free`);
    return Array.from({ length: count }, () => this.#freeDescriptors.pop() ?? 0);
  }

  #retire(head: number, written: number): Uint8Array {
    const request = this.#requests.get(head);
    if (request === undefined)
      throw new Error(`the device used head ${head}, which it did not have`);
    this.#requests.delete(head);
    const data = new Uint8Array(written);
    let copied = 0;
    for (const { address, length } of request.writable) {
      const count = Math.min(length, written - copied);
      data.set(this.memory.slice(address, count) ?? [], copied);
      copied += count;
    }
    if (copied < written)
      throw new Error(`the device wrote ${written} bytes into room for ${copied}`);
    for (const { address, length } of request.buffers) this.#heap.free(address, length);
    if (request.table) this.#heap.free(request.table.address, request.table.length);
    this.#freeDescriptors.push(...request.descriptors);
    return data;
  }
}
