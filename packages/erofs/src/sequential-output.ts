/** Where an image is written: a file, a buffer, anything with positioned writes. */
export interface ErofsOutput {
  /**
   * Writes all of `bytes` at `position`. Must be done with `bytes` when it returns or its promise
   * settles. Every byte of an image is written once, in no fixed order, the first 4096 bytes last.
   */
  write(position: number, bytes: Uint8Array): Promise<void> | void;
}

const CAPACITY = 256 * 1024;

/** Joins writes that follow each other into large ones. */
export class SequentialOutput {
  readonly #output: ErofsOutput;
  readonly #buffer = new Uint8Array(CAPACITY);
  #position = 0;
  #length = 0;

  constructor(output: ErofsOutput) {
    this.#output = output;
  }

  /** Returns a promise only when something had to go out. */
  write(position: number, bytes: Uint8Array): Promise<void> | undefined {
    const follows = position === this.#position + this.#length;
    if (this.#length > 0 && !(follows && this.#length + bytes.length <= CAPACITY)) {
      return this.#flushThenWrite(position, bytes);
    }
    if (bytes.length > CAPACITY) return this.#writeThrough(position, bytes);
    if (this.#length === 0) this.#position = position;
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
    return undefined;
  }

  /** Sends out what is held back. */
  async flush(): Promise<void> {
    if (this.#length === 0) return;
    await this.#output.write(this.#position, this.#buffer.subarray(0, this.#length));
    this.#length = 0;
  }

  async #flushThenWrite(position: number, bytes: Uint8Array): Promise<void> {
    await this.flush();
    await this.write(position, bytes);
  }

  async #writeThrough(position: number, bytes: Uint8Array): Promise<void> {
    await this.#output.write(position, bytes);
  }
}
