const INITIAL_CAPACITY = 1024;
/** A client goes back by one reply at most (1 MiB, some 30,000 records), unless it calls seekdir(3). */
export const RING_CAPACITY = 65536;
/** A ring in given memory: the count of positions, then pairs of halves. */
export const RING_WORDS = 1 + RING_CAPACITY * 2;

/** Remembers the last 65,536 directory positions of an open directory, numbered from 0. */
export class PositionRing {
  #words: Uint32Array;
  readonly #mayGrow: boolean;

  /** @param words - `RING_WORDS` zeros, which other threads may use for the same directory. */
  constructor(words?: Uint32Array) {
    this.#words = words ?? new Uint32Array(1 + INITIAL_CAPACITY * 2);
    this.#mayGrow = words === undefined;
  }

  /** Remembers a position, given as two halves, and returns its number. */
  add(low: number, high: number): number {
    const number = this.#words[0] as number;
    if (this.#mayGrow && number >= this.#capacity && number < RING_CAPACITY) {
      const words = new Uint32Array(1 + this.#capacity * 4);
      words.set(this.#words);
      this.#words = words;
    }
    const at = 1 + (number % this.#capacity) * 2;
    this.#words[at] = low;
    this.#words[at + 1] = high;
    this.#words[0] = number + 1;
    return number;
  }

  /** Undefined when the number was never given, or its position is forgotten. */
  get(number: number): bigint | undefined {
    const count = this.#words[0] as number;
    if (number >= count || number < count - this.#capacity) return undefined;
    const at = 1 + (number % this.#capacity) * 2;
    const high = BigInt(this.#words[at + 1] as number);
    return BigInt.asIntN(64, (high << 32n) | BigInt(this.#words[at] as number));
  }

  get #capacity(): number {
    return (this.#words.length - 1) / 2;
  }
}
