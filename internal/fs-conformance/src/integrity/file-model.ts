/** What a file must hold: bytes up to a size, as simple as can be. */
export class FileModel {
  #bytes = new Uint8Array(0);

  get size(): number {
    return this.#bytes.length;
  }

  /** Like pread(2). */
  read(length: number, offset: number): Uint8Array {
    return this.#bytes.slice(offset, offset + length);
  }

  /** Like pwrite(2). */
  write(data: Uint8Array, offset: number): void {
    if (data.length === 0) return;
    if (this.size < offset + data.length) this.truncate(offset + data.length);
    this.#bytes.set(data, offset);
  }

  truncate(size: number): void {
    const resized = new Uint8Array(size);
    resized.set(this.#bytes.subarray(0, size));
    this.#bytes = resized;
  }

  /** Makes zeros of a range, as far as the file goes. */
  punch(offset: number, length: number): void {
    this.#bytes.fill(0, Math.min(offset, this.size), Math.min(offset + length, this.size));
  }
}
