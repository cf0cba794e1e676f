/** Room made for a small packet that arrives while others wait, so that the next ones fit in as well. */
const MINIMUM_CHUNK = 4096;

/**
 * Bytes from the guest that the host has not read. Small packets share chunks: a guest that sends byte
 * by byte must not cost the host an object each.
 */
export class ReceiveBuffer {
  readonly #chunks: Buffer[] = [];
  /** Bytes used of the last chunk. */
  #tailLength = 0;

  get isEmpty(): boolean {
    return this.#chunks.length === 0;
  }

  /** Room for `length` bytes, for the caller to fill at once. */
  append(length: number): Buffer {
    const tail = this.#chunks.at(-1);
    if (tail !== undefined && tail.length - this.#tailLength >= length) {
      this.#tailLength += length;
      return tail.subarray(this.#tailLength - length, this.#tailLength);
    }
    if (tail !== undefined) {
      this.#chunks[this.#chunks.length - 1] = tail.subarray(0, this.#tailLength);
    }
    const chunk = Buffer.allocUnsafe(tail === undefined ? length : Math.max(length, MINIMUM_CHUNK));
    this.#chunks.push(chunk);
    this.#tailLength = length;
    return chunk.subarray(0, length);
  }

  /** Takes the oldest chunk. */
  shift(): Buffer | undefined {
    const isTail = this.#chunks.length === 1;
    const chunk = this.#chunks.shift();
    return isTail ? chunk?.subarray(0, this.#tailLength) : chunk;
  }

  clear(): void {
    this.#chunks.length = 0;
  }
}
