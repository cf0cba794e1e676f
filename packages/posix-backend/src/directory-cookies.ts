const FIRST = 2 ** 52;
const INITIAL_CAPACITY = 1024;
/** A client goes back by one reply at most (1 MiB, some 30,000 records), unless it calls seekdir(3). */
const MAX_CAPACITY = 65536;

/**
 * Directory positions of the host (`d_off`, any 64-bit number; ext4 uses 63 bits) as cookies below 2^53.
 * Small positions stand for themselves; large ones get a number above 2^52, and the latest 65,536
 * of them are remembered.
 */
export class DirectoryCookies {
  /** Ring of pairs: low and high half of the position. */
  #halves = new Uint32Array(0);
  #issued = 0;

  /** The cookie of a position, given as two halves. */
  encode(low: number, high: number): number {
    if (high < 0x10_0000) return high * 0x1_0000_0000 + low;
    let capacity = this.#halves.length / 2;
    if (this.#issued >= capacity && capacity < MAX_CAPACITY) {
      capacity = Math.max(INITIAL_CAPACITY, capacity * 2);
      const halves = new Uint32Array(capacity * 2);
      halves.set(this.#halves);
      this.#halves = halves;
    }
    const slot = (this.#issued % capacity) * 2;
    this.#halves[slot] = low;
    this.#halves[slot + 1] = high;
    return FIRST + this.#issued++;
  }

  /** The position of a cookie; undefined when it was never issued or is forgotten. */
  decode(cookie: number): number | bigint | undefined {
    if (cookie < FIRST) return cookie;
    const index = cookie - FIRST;
    const capacity = this.#halves.length / 2;
    if (index >= this.#issued || index < this.#issued - capacity) return undefined;
    const slot = (index % capacity) * 2;
    const low = this.#halves[slot] ?? 0;
    const high = this.#halves[slot + 1] ?? 0;
    return BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low));
  }
}
