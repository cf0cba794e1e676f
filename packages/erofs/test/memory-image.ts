import type { ErofsInput, ErofsOutput } from "../src/index.js";

/** An image in memory that grows as it is written. */
export class MemoryImage implements ErofsOutput, ErofsInput {
  #bytes = new Uint8Array(1 << 16);
  size = 0;

  static of(bytes: Uint8Array): MemoryImage {
    const image = new MemoryImage();
    image.write(0, bytes);
    return image;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.size);
  }

  write(position: number, bytes: Uint8Array): void {
    const end = position + bytes.length;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(2 ** Math.ceil(Math.log2(end)));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, position);
    this.size = Math.max(this.size, end);
  }

  read(position: number, length: number): Uint8Array {
    return this.#bytes.slice(position, position + length);
  }
}
