/** Chunks are this many bytes at most; the last one of a small file is shorter. */
const CHUNK = 64 * 1024;
const SMALLEST = 256;

/** The bytes of a file: chunks where something was written, holes elsewhere. */
export class SparseContent {
  readonly #chunks = new Map<number, Uint8Array>();
  /** Bytes. */
  size = 0;
  /** Bytes of memory in chunks. */
  allocated = 0;

  /** Fills `target` from `offset` on and returns how many bytes lie before the end. */
  read(offset: number, target: Uint8Array): number {
    const length = Math.max(0, Math.min(target.length, this.size - offset));
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const within = at % CHUNK;
      const count = Math.min(CHUNK - within, length - done);
      const chunk = this.#chunks.get((at - within) / CHUNK);
      const present = Math.max(0, Math.min(count, (chunk?.length ?? 0) - within));
      if (chunk !== undefined && present > 0) {
        target.set(chunk.subarray(within, within + present), done);
      }
      if (present < count) target.fill(0, done + present, done + count);
      done += count;
    }
    return length;
  }

  /** Writes all of `source`; the file grows as needed. */
  write(offset: number, source: Uint8Array): void {
    for (let done = 0; done < source.length; ) {
      const at = offset + done;
      const within = at % CHUNK;
      const count = Math.min(CHUNK - within, source.length - done);
      const chunk = this.#chunk((at - within) / CHUNK, within + count);
      chunk.set(
        done === 0 && count === source.length ? source : source.subarray(done, done + count),
        within,
      );
      done += count;
    }
    this.size = Math.max(this.size, offset + source.length);
  }

  /** How much memory a write of `length` bytes at `offset` can take at most. */
  static growth(offset: number, length: number): number {
    return (Math.ceil((offset + length) / CHUNK) - Math.floor(offset / CHUNK)) * CHUNK;
  }

  #chunk(index: number, needed: number): Uint8Array {
    const chunk = this.#chunks.get(index);
    if (chunk !== undefined && chunk.length >= needed) return chunk;
    let capacity = chunk?.length ?? SMALLEST;
    while (capacity < needed) capacity *= 2;
    const larger = new Uint8Array(Math.min(capacity, CHUNK));
    if (chunk !== undefined) larger.set(chunk);
    this.allocated += larger.length - (chunk?.length ?? 0);
    this.#chunks.set(index, larger);
    return larger;
  }

  /** Cuts the file off or extends it with a hole. */
  truncate(size: number): void {
    if (size < this.size) this.punch(size, this.size - size);
    this.size = size;
  }

  /** Makes `[offset, offset + length)` read as zeros and frees whole chunks in it. */
  punch(offset: number, length: number): void {
    const end = offset + length;
    for (const [index, chunk] of this.#chunks) {
      const start = index * CHUNK;
      if (start >= end || start + chunk.length <= offset) continue;
      if (offset <= start && start + chunk.length <= end) {
        this.#chunks.delete(index);
        this.allocated -= chunk.length;
      } else {
        chunk.fill(0, Math.max(0, offset - start), Math.min(chunk.length, end - start));
      }
    }
  }

  /** The first byte at or after `offset` that lies in a chunk, undefined when none does. */
  nextData(offset: number): number | undefined {
    let nearest: number | undefined;
    for (const [index, chunk] of this.#chunks) {
      const start = index * CHUNK;
      if (start + chunk.length <= offset || start >= this.size) continue;
      const found = Math.max(start, offset);
      if (nearest === undefined || found < nearest) nearest = found;
    }
    return nearest;
  }

  /** The first byte at or after `offset` that lies in no chunk; at the latest the end of the file. */
  nextHole(offset: number): number {
    let at = offset;
    while (at < this.size) {
      const within = at % CHUNK;
      const chunk = this.#chunks.get((at - within) / CHUNK);
      if (chunk === undefined || within >= chunk.length) return at;
      at += chunk.length - within;
    }
    return this.size;
  }
}
