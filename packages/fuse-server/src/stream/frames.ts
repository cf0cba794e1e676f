import { FuseServerError } from "../error.js";

/**
 * Cuts a byte stream into FUSE messages. Each starts with its own length (`len` of the header), so they
 * need no other framing.
 */
export class FrameReader {
  #shortest: number;
  #longest: number;
  readonly #onFrame: (frame: Buffer) => void;
  /** The part of a frame that has arrived, and its pieces. */
  #pieces: Buffer[] = [];
  #held = 0;
  #needed = 4;

  constructor(shortest: number, longest: number, onFrame: (frame: Buffer) => void) {
    this.#shortest = shortest;
    this.#longest = longest;
    this.#onFrame = onFrame;
  }

  /** Bounds for the frames from the next on, in bytes. */
  expect(shortest: number, longest: number): void {
    this.#shortest = shortest;
    this.#longest = longest;
  }

  /** Throws {@link FuseServerError} `ERR_FUSE_FRAME` when a length is out of bounds; then it is of no more use. */
  push(chunk: Buffer): void {
    let rest = chunk;
    while (this.#held + rest.length >= this.#needed) {
      const bytes = this.#held === 0 ? rest : this.#join(rest);
      const length = bytes.readUInt32LE(0);
      if (length < this.#shortest || length > this.#longest) {
        throw new FuseServerError(
          "ERR_FUSE_FRAME",
          `a FUSE message of ${length} bytes is outside ${this.#shortest}..${this.#longest}`,
        );
      }
      this.#needed = length;
      rest = bytes;
      if (bytes.length < length) break;
      rest = bytes.subarray(length);
      this.#needed = 4;
      this.#onFrame(bytes.subarray(0, length));
    }
    if (rest.length === 0) return;
    this.#pieces.push(rest);
    this.#held += rest.length;
  }

  /** Joins what is held with `rest` once, when a frame (or its length) is complete. */
  #join(rest: Buffer): Buffer {
    const joined = Buffer.concat([...this.#pieces, rest], this.#held + rest.length);
    this.#pieces = [];
    this.#held = 0;
    return joined;
  }

  /** Whether the stream stopped inside a frame. */
  get isPartial(): boolean {
    return this.#held > 0;
  }
}
