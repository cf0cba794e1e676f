import type { GuestMemory } from "../memory/guest-memory.js";

const ALIGNMENT = 16;

/** Hands out ranges of guest memory to a driver; freed ranges are used again for the same size. */
export class GuestHeap {
  readonly memory: GuestMemory;
  #next: number;
  readonly #end: number;
  readonly #free = new Map<number, number[]>();

  constructor(memory: GuestMemory, start: number, length: number) {
    this.memory = memory;
    this.#next = start;
    this.#end = start + length;
  }

  /** The guest address of `length` zeroed bytes. Throws `RangeError` when the range is used up. */
  allocate(length: number): number {
    const rounded = roundUp(length);
    const address = this.#free.get(rounded)?.pop() ?? this.#next;
    if (address === this.#next) this.#next += rounded;
    const bytes = this.memory.slice(address, length);
    if (this.#next > this.#end || bytes === undefined) {
      throw new RangeError(`no ${length} bytes of guest memory left for the test driver`);
    }
    bytes.fill(0);
    return address;
  }

  free(address: number, length: number): void {
    const rounded = roundUp(length);
    const list = this.#free.get(rounded);
    if (list === undefined) this.#free.set(rounded, [address]);
    else list.push(address);
  }
}

function roundUp(length: number): number {
  return Math.max(ALIGNMENT, Math.ceil(length / ALIGNMENT) * ALIGNMENT);
}
