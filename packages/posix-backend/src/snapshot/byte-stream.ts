/** Appends little-endian integers and bytes to memory that grows. */
export class ByteWriter {
  #bytes = Buffer.alloc(4096);
  #length = 0;

  u8(value: number): void {
    this.#length = this.#room(1).writeUInt8(value, this.#length);
  }

  u16(value: number): void {
    this.#length = this.#room(2).writeUInt16LE(value, this.#length);
  }

  u32(value: number): void {
    this.#length = this.#room(4).writeUInt32LE(value, this.#length);
  }

  /** @param value - Below 2^53. */
  u64(value: number): void {
    this.u32(value % 0x1_0000_0000);
    this.u32(Math.floor(value / 0x1_0000_0000));
  }

  bytes(length: number, write: (to: Uint8Array) => void): void {
    write(this.#room(length).subarray(this.#length, this.#length + length));
    this.#length += length;
  }

  finish(): Uint8Array {
    return new Uint8Array(this.#bytes.subarray(0, this.#length));
  }

  #room(length: number): Buffer {
    if (this.#length + length > this.#bytes.length) {
      const larger = Buffer.alloc((this.#length + length) * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    return this.#bytes;
  }
}

/** Reads little-endian integers and bytes; `refuse` throws when they end too early. */
export class ByteReader {
  readonly #bytes: Buffer;
  readonly #refuse: () => never;
  #at = 0;

  constructor(bytes: Uint8Array, refuse: () => never) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#refuse = refuse;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#bytes.readUInt16LE(this.#take(2));
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }

  /** Exact below 2^53; larger values are no safe integers. */
  u64(): number {
    const low = this.u32();
    return this.u32() * 0x1_0000_0000 + low;
  }

  /** A count of items, of at least `bytes` each: never more than there is room for. */
  count(bytes: number): number {
    const count = this.u64();
    return count * bytes > this.#bytes.length - this.#at ? this.#refuse() : count;
  }

  bytes(length: number): Uint8Array {
    const start = this.#take(length);
    return this.#bytes.subarray(start, start + length);
  }

  #take(length: number): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) this.#refuse();
    this.#at += length;
    return start;
  }
}
