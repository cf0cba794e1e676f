import { type DirectoryEntry, DOT_COOKIE, DOT_DOT_COOKIE, type MemoryNode } from "./memory-node.js";

type Names = Iterator<[string, DirectoryEntry]>;

/**
 * An open directory. Listings usually continue where they stopped, so the iterator is kept: a Map's
 * iterator is not disturbed by names that come and go meanwhile.
 */
export class DirectoryListing {
  readonly #directory: MemoryNode;
  #names: Names | undefined;
  /** The cookie of the last name that was taken. */
  #position = DOT_DOT_COOKIE;
  /** A name that the iterator has passed but that was not taken. */
  #held: [string, DirectoryEntry] | undefined;

  constructor(directory: MemoryNode) {
    this.#directory = directory;
  }

  /** Offers the names after `offset` one by one until `take` returns false or there are no more. */
  from(offset: number, take: (name: string, node: MemoryNode, cookie: number) => boolean): void {
    const directory = this.#directory;
    if (offset < DOT_COOKIE && !take(".", directory, DOT_COOKIE)) return;
    const parent = directory.parent ?? directory;
    if (offset < DOT_DOT_COOKIE && !take("..", parent, DOT_DOT_COOKIE)) return;
    const start = Math.max(offset, DOT_DOT_COOKIE);
    const names = this.#continueFrom(start);
    for (;;) {
      const found = this.#held ?? next(names);
      this.#held = undefined;
      if (found === undefined) return;
      const [name, { node, cookie }] = found;
      if (cookie <= start || directory.children?.get(name)?.cookie !== cookie) continue;
      if (!take(name, node, cookie)) {
        this.#held = found;
        return;
      }
      this.#position = cookie;
    }
  }

  #continueFrom(offset: number): Names | undefined {
    if (this.#names === undefined || offset !== this.#position) {
      this.#names = this.#directory.children?.entries();
      this.#held = undefined;
      this.#position = offset;
    }
    return this.#names;
  }
}

function next(names: Names | undefined): [string, DirectoryEntry] | undefined {
  const result = names?.next();
  return result === undefined || result.done === true ? undefined : result.value;
}
