import {
  FOPEN_DIRECT_IO,
  FOPEN_KEEP_CACHE,
  FOPEN_PASSTHROUGH,
  FUSE_CREATE,
  FUSE_OPEN,
  FUSE_RELEASE,
  FUSE_TMPFILE,
} from "@supermachine/fuse-protocol";
import type { OpenReply } from "./reply.js";
import type { RequestSlot } from "./slot.js";

/** Registers host files with the kernel: `FUSE_DEV_IOC_BACKING_OPEN` and `..._CLOSE` on /dev/fuse. */
export interface BackingFiles {
  /** Returns the backing id, above 0, of an open host file, or a negated errno. */
  open(fd: number): number;
  close(id: number): void;
}

/** Lets the kernel read and write host files itself (`FUSE_PASSTHROUGH`). */
export interface PassthroughOptions {
  readonly backing: BackingFiles;
  /**
   * How many stacked file systems (overlayfs, passthrough mounts) the backing files may lie below, 1 or
   * 2. With 2 nothing can be stacked on the mount itself. Default 1.
   */
  readonly maxStackDepth?: number;
  /** Made by {@link createIoModes}, when several sessions serve one connection. */
  readonly ioModes?: SharedArrayBuffer;
}

// Words of the table: a lock, the nodes in it, and then four words for each.
const LOCK = 0;
const USED = 1;
const HEADER = 4;
const STRIDE = 4;
const LOW = 0;
const HIGH = 1;
const OPENS = 2;
const BACKING_ID = 3;

/** Nodes that can be open at once, a power of two; memory is only used for as many as are. */
const SLOTS = 1 << 20;
/** Beyond this, searching gets slow. */
const FULL = SLOTS - SLOTS / 4;

/** Memory for the open modes of one connection, to share between the threads that serve it. */
export function createIoModes(): SharedArrayBuffer {
  return new SharedArrayBuffer((HEADER + SLOTS * STRIDE) * Int32Array.BYTES_PER_ELEMENT);
}

/**
 * How each node of a connection is open. Linux has a node either cached or passed through to one
 * backing file, for as long as any open file of it lasts, and fails an open that says otherwise with EIO
 * (fs/fuse/iomode.c). So the first open decides for those that follow until the last release, which may
 * arrive at another thread: the table is in shared memory, under a lock.
 *
 * Kept as a hash table with linear probing, without tombstones.
 */
export class IoModes {
  readonly #words: Int32Array;
  readonly #backing: BackingFiles;

  constructor(options: PassthroughOptions) {
    this.#words = new Int32Array(options.ioModes ?? createIoModes());
    this.#backing = options.backing;
  }

  /** Notes what a finished request opened or released, and completes the reply to it. */
  record(slot: RequestSlot, result: number): void {
    if (slot.opcode === FUSE_RELEASE) this.#released(slot.nodeid);
    else if (result < 0) return;
    else if (slot.opcode === FUSE_OPEN) this.#opened(slot.nodeid, slot.open);
    else if (slot.opcode === FUSE_CREATE || slot.opcode === FUSE_TMPFILE) {
      this.#opened(slot.entry.nodeid, slot.open);
    }
  }

  #opened(nodeid: number, reply: OpenReply): void {
    this.#lock();
    try {
      let at = this.#find(nodeid);
      if (this.#word(at, OPENS) === 0) at = this.#add(at, nodeid, reply.passthroughFd);
      // An untracked open must have no mode, which is what direct I/O has.
      if (at === -1) reply.flags |= FOPEN_DIRECT_IO;
      else this.#join(at, reply);
    } finally {
      this.#unlock();
    }
  }

  /** Takes a free place for a node; -1 when the table is full. */
  #add(at: number, nodeid: number, fd: number | undefined): number {
    if (Atomics.load(this.#words, USED) >= FULL) return -1;
    const id = fd === undefined ? 0 : this.#backing.open(fd);
    this.#words[at + LOW] = nodeid | 0;
    this.#words[at + HIGH] = (nodeid / 2 ** 32) | 0;
    this.#words[at + BACKING_ID] = Math.max(id, 0);
    Atomics.add(this.#words, USED, 1);
    return at;
  }

  #join(at: number, reply: OpenReply): void {
    this.#words[at + OPENS] = this.#word(at, OPENS) + 1;
    const id = this.#word(at, BACKING_ID);
    if (id !== 0) {
      // There are no pages to keep, and Linux fails an open that asks for both.
      reply.flags = (reply.flags & ~FOPEN_KEEP_CACHE) | FOPEN_PASSTHROUGH;
      reply.backingId = id;
    } else if (reply.passthroughFd !== undefined) {
      // Pages from before may be older than what an earlier, passed through file has written.
      reply.flags &= ~FOPEN_KEEP_CACHE;
    }
  }

  #released(nodeid: number): void {
    this.#lock();
    let closed = 0;
    try {
      const at = this.#find(nodeid);
      const opens = this.#word(at, OPENS);
      if (opens === 0) return;
      this.#words[at + OPENS] = opens - 1;
      if (opens > 1) return;
      closed = this.#word(at, BACKING_ID);
      this.#remove(at);
    } finally {
      this.#unlock();
    }
    if (closed !== 0) this.#backing.close(closed);
  }

  /** Where the node is, or else where it would go. */
  #find(nodeid: number): number {
    const low = nodeid | 0;
    const high = (nodeid / 2 ** 32) | 0;
    for (let i = hash(low, high); ; i = (i + 1) % SLOTS) {
      const at = HEADER + i * STRIDE;
      if (this.#word(at, OPENS) === 0) return at;
      if (this.#word(at, LOW) === low && this.#word(at, HIGH) === high) return at;
    }
  }

  /** Frees a place and moves up those that were only put further on because of it. */
  #remove(at: number): void {
    const words = this.#words;
    Atomics.sub(words, USED, 1);
    let hole = (at - HEADER) / STRIDE;
    for (let i = (hole + 1) % SLOTS; ; i = (i + 1) % SLOTS) {
      const from = HEADER + i * STRIDE;
      if (this.#word(from, OPENS) === 0) break;
      const home = hash(this.#word(from, LOW), this.#word(from, HIGH));
      // Distances go round the end of the table.
      if ((i - home + SLOTS) % SLOTS < (i - hole + SLOTS) % SLOTS) continue;
      words.copyWithin(HEADER + hole * STRIDE, from, from + STRIDE);
      hole = i;
    }
    words.fill(0, HEADER + hole * STRIDE, HEADER + (hole + 1) * STRIDE);
  }

  #word(at: number, field: number): number {
    return this.#words[at + field] ?? 0;
  }

  /** The mutex of Drepper's "Futexes Are Tricky": 0 free, 1 taken, 2 taken and waited for. */
  #lock(): void {
    if (Atomics.compareExchange(this.#words, LOCK, 0, 1) === 0) return;
    while (Atomics.exchange(this.#words, LOCK, 2) !== 0) Atomics.wait(this.#words, LOCK, 2);
  }

  #unlock(): void {
    if (Atomics.exchange(this.#words, LOCK, 0) === 2) Atomics.notify(this.#words, LOCK, 1);
  }
}

/** Fibonacci hashing: neighbouring ids end up apart. */
function hash(low: number, high: number): number {
  return Math.imul(low ^ Math.imul(high, 0x85eb_ca6b), 0x9e37_79b1) >>> (32 - Math.log2(SLOTS));
}
