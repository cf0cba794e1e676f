import { OciError } from "../errors.js";

/** Takes a stream of chunks apart by byte counts. */
export class ByteCursor {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Up to `max` bytes without copying; empty only at the end of the stream. */
  async some(max: number): Promise<Uint8Array> {
    while (this.#at === this.#chunk.length) {
      const next = await this.#chunks.next();
      if (next.done) return new Uint8Array(0);
      this.#chunk = next.value;
      this.#at = 0;
    }
    const part = this.#chunk.subarray(this.#at, this.#at + max);
    this.#at += part.length;
    return part;
  }

  /** Exactly `length` bytes, which must be a bounded number; undefined at the end of the stream. */
  async exactly(length: number, what: string): Promise<Uint8Array | undefined> {
    const first = await this.some(length);
    if (first.length === length) return first;
    if (first.length === 0) return undefined;
    const bytes = new Uint8Array(length);
    bytes.set(first);
    for (let done = first.length; done < length; ) {
      const part = await this.some(length - done);
      if (part.length === 0) throw truncated(what);
      bytes.set(part, done);
      done += part.length;
    }
    return bytes;
  }

  /** Passes over `length` bytes. */
  async skip(length: number, what: string): Promise<void> {
    for (let left = length; left > 0; ) {
      const part = await this.some(left);
      if (part.length === 0) throw truncated(what);
      left -= part.length;
    }
  }

  /** Reads to the end of the stream, so that what checks it sees all of it. */
  async drain(): Promise<void> {
    while ((await this.some(Number.MAX_SAFE_INTEGER)).length > 0);
  }

  /** Lets the source of the stream go when it is not read to the end. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}

/** The error for a stream that ends inside of `what`. */
export function truncated(what: string): OciError {
  return new OciError("ERR_OCI_TRUNCATED", `the tar archive ends inside of ${what}; get it again`);
}
