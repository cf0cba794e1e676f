/** An entry of a {@link Journal}, and where to go on after it. */
export interface JournalItem<T> {
  readonly cursor: number;
  readonly entry: T;
}

/**
 * The latest entries of a stream of them, for any number of readers at their own pace. A reader that is
 * overtaken goes on with the oldest entry still there: neither the writer nor memory ever waits for one.
 */
export class Journal<T> {
  readonly #entries: T[] = [];
  readonly #capacity: number;
  readonly #sizeOf: (entry: T) => number;
  readonly #waiting = new Set<() => void>();
  #size = 0;
  /** Cursor of the entry before the first one kept. */
  #start = 0;
  #closed = false;

  /** Keeps entries of `capacity` together, as `sizeOf` counts them. */
  constructor(capacity: number, sizeOf: (entry: T) => number = () => 1) {
    this.#capacity = capacity;
    this.#sizeOf = sizeOf;
  }

  append(entry: T): void {
    this.#entries.push(entry);
    this.#size += this.#sizeOf(entry);
    while (this.#size > this.#capacity && this.#entries.length > 1) {
      const oldest = this.#entries.shift();
      this.#start += 1;
      if (oldest !== undefined) this.#size -= this.#sizeOf(oldest);
    }
    this.#wake();
  }

  /** Forgets the entries so far; readers that follow go on with what comes. */
  clear(): void {
    this.#start += this.#entries.length;
    this.#entries.length = 0;
    this.#size = 0;
  }

  /** There will be no more entries: readers that follow end. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  /** The entries after the cursor `since`, and with `follow` those to come. `signal` ends it quietly. */
  async *read(
    since: number,
    follow: boolean,
    signal?: AbortSignal,
  ): AsyncGenerator<JournalItem<T>, void, undefined> {
    let cursor = since;
    while (!signal?.aborted) {
      cursor = Math.max(cursor, this.#start);
      const entry = this.#entries[cursor - this.#start];
      if (entry !== undefined) {
        cursor += 1;
        yield { cursor, entry };
      } else if (follow && !this.#closed) {
        await this.#change(signal);
      } else return;
    }
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal?.addEventListener("abort", wake);
    });
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
