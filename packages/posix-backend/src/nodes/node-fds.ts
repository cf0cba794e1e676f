import { ESTALE, NAME_MAX } from "@supermachine/fuse-protocol";
import { close, openAt, reopen } from "../platform/host.js";
import { O_PATH } from "../syscalls/constants.js";
import { cachedFd, FdCache, takeCachedFd } from "./fd-cache.js";
import { FileHandle } from "./file-handle.js";
import { header, type NodeMemory, record } from "./node-memory.js";
import { kindOf, NodeKind, setKind, volumeOf } from "./node-record.js";
import type { RecordedNames } from "./recorded-names.js";
import { heldSlot } from "./slot-allocator.js";
import { StatBuffer } from "./stat-buffer.js";
import type { VolumeTable } from "./volume-table.js";

/** Deeper trees cannot be named by a path of PATH_MAX. */
const MAX_DEPTH = 2048;

/** The fd of an open file of a node, or a negated errno when there is none. */
export type OpenFileOf = (nodeid: number) => number;

/**
 * The O_PATH fds of nodes. Those of nodes in use are kept in a cache per thread; what falls out of it is opened again
 * by its file handle, or by its last known name.
 */
export class NodeFds {
  readonly #memory: NodeMemory;
  readonly #thread: number;
  readonly #procFd: number;
  readonly #volumes: VolumeTable;
  readonly #names: RecordedNames;
  readonly #openFileOf: OpenFileOf;
  readonly #cache: FdCache;
  readonly #handle = new FileHandle();
  readonly #stat = new StatBuffer();
  /** Fds to close as soon as the lock is free. */
  readonly #unused: number[] = [];

  constructor(
    memory: NodeMemory,
    thread: number,
    procFd: number,
    volumes: VolumeTable,
    names: RecordedNames,
    openFileOf: OpenFileOf,
  ) {
    this.#memory = memory;
    this.#thread = thread;
    this.#procFd = procFd;
    this.#volumes = volumes;
    this.#names = names;
    this.#openFileOf = openFileOf;
    this.#cache = new FdCache(memory, thread);
  }

  /** An fd of a node, for the present operation; or a negated errno. */
  get(slot: number, nodeid: number): number {
    const held = this.#heldFd(slot);
    return held >= 0 ? held : this.#refill(slot, nodeid);
  }

  /** Keeps an fd of a new node for good. Under the lock. */
  pin(slot: number, fd: number): void {
    this.#memory.write(this.#memory.recordAt(slot) + record.fd, fd);
    this.#memory.add(header.pinned, 1);
  }

  /** Keeps an fd of a node, unless this thread has one. Under the lock. */
  keep(slot: number, fd: number): void {
    const at = this.#memory.recordAt(slot);
    const isCached = (this.#memory.read(at + record.cachedBy) & (1 << this.#thread)) !== 0;
    if (isCached || isPinned(this.#memory.read(at + record.meta))) this.discard(fd);
    else this.put(slot, fd);
  }

  /** Keeps an fd of a node of which this thread has none. Under the lock. */
  put(slot: number, fd: number): void {
    this.#cache.put(slot, fd);
    if (this.#cache.evictedFd >= 0) this.#settle(this.#cache.evictedSlot, this.#cache.evictedFd);
  }

  /** Closes every fd of a node, those of other threads too. Under the lock. */
  release(slot: number): void {
    const memory = this.#memory;
    const at = memory.recordAt(slot);
    if (isPinned(memory.read(at + record.meta))) {
      memory.add(header.pinned, -1);
      this.discard(memory.read(at + record.fd));
    }
    let cachedBy = memory.read(at + record.cachedBy);
    while (cachedBy !== 0) {
      const thread = 31 - Math.clz32(cachedBy);
      this.discard(takeCachedFd(memory, thread, slot));
      cachedBy &= ~(1 << thread);
    }
  }

  /** Has {@link closeDiscarded} close an fd, or nothing for a negative one. */
  discard(fd: number): void {
    if (fd >= 0) this.#unused.push(fd);
  }

  /** To be called whenever the lock has been given back. */
  closeDiscarded(): void {
    for (let fd = this.#unused.pop(); fd !== undefined; fd = this.#unused.pop()) close(fd);
  }

  /** Gives up the fds that this thread keeps. Under the lock. */
  drain(): void {
    this.#cache.drain((slot, fd) => this.#settle(slot, fd));
  }

  /** An fd of a node has left a cache: the last one leaves a file handle behind. */
  #settle(slot: number, fd: number): void {
    const memory = this.#memory;
    const at = memory.recordAt(slot);
    const isLast = memory.read(at + record.cachedBy) === 0;
    if (isLast && kindOf(memory.read(at + record.meta)) === NodeKind.cached) {
      if (this.#handle.read(fd) < 0) {
        // Too long, or this kind of file has none: it keeps the fd.
        setKind(memory, at, NodeKind.pinned, 0);
        this.pin(slot, fd);
        return;
      }
      this.#handle.store(memory, at);
    }
    this.discard(fd);
  }

  /** Opens the inode of a node of which this thread has no fd, and keeps that. */
  #refill(slot: number, nodeid: number): number {
    const fd = this.#openAgain(slot, nodeid, 0);
    if (fd < 0) return fd;
    this.#memory.lock();
    this.put(slot, fd);
    this.#memory.unlock();
    this.closeDiscarded();
    return fd;
  }

  /** A new O_PATH fd of a node that has none of its own. */
  #openAgain(slot: number, nodeid: number, depth: number): number {
    const memory = this.#memory;
    const at = memory.recordAt(slot);
    memory.lock();
    const cachedBy = memory.read(at + record.cachedBy);
    if (cachedBy !== 0) {
      // Of another thread, who may not close it meanwhile.
      const other = cachedFd(memory, 31 - Math.clz32(cachedBy), slot);
      const fd = reopen(this.#procFd, other, O_PATH);
      memory.unlock();
      return fd;
    }
    let fd: number;
    const meta = memory.read(at + record.meta);
    if (kindOf(meta) === NodeKind.gone) {
      memory.unlock();
      fd = -ESTALE;
    } else if (kindOf(meta) === NodeKind.named) {
      const name = new Uint8Array(NAME_MAX + 1);
      const parent = this.#names.read(slot, name);
      memory.unlock();
      fd = this.#openNamed(slot, parent, name, depth);
    } else {
      this.#handle.load(memory, at);
      const mountFd = this.#volumes.mountFd(volumeOf(meta));
      memory.unlock();
      fd = this.#handle.open(mountFd);
    }
    if (fd !== -ESTALE) return fd;
    // Removed, but the client may have it open still.
    const open = this.#openFileOf(nodeid);
    return open < 0 ? -ESTALE : reopen(this.#procFd, open, O_PATH);
  }

  /** Looks the node's last known name up, as any name of the client; ESTALE when that is another file now. */
  #openNamed(slot: number, parent: number, name: Uint8Array, depth: number): number {
    const parentSlot = heldSlot(this.#memory, parent);
    if (parentSlot === 0 || depth > MAX_DEPTH) return -ESTALE;
    const held = this.#heldFd(parentSlot);
    const parentFd = held >= 0 ? held : this.#openAgain(parentSlot, parent, depth + 1);
    if (parentFd < 0) return parentFd;
    const fd = openAt(parentFd, name, O_PATH);
    if (held < 0) close(parentFd);
    if (fd < 0) return -ESTALE;
    const failure = this.#stat.read(fd);
    const volume = volumeOf(this.#memory.read(this.#memory.recordAt(slot) + record.meta));
    if (failure === 0 && this.#volumes.find(this.#stat) === volume) {
      const birth = [this.#stat.birthSeconds, this.#stat.birthNanoseconds] as const;
      const at = this.#memory.recordAt(slot);
      const { inoLow, inoHigh } = this.#stat;
      const isSame =
        this.#memory.read(at + record.inoLow) === inoLow &&
        this.#memory.read(at + record.inoHigh) === inoHigh &&
        this.#names.bornAt(slot, birth);
      if (isSame) return fd;
    }
    close(fd);
    return -ESTALE;
  }

  /** The fd that this thread can use of a node without opening it, or -1. */
  #heldFd(slot: number): number {
    const at = this.#memory.recordAt(slot);
    return isPinned(this.#memory.read(at + record.meta))
      ? this.#memory.read(at + record.fd)
      : this.#cache.find(slot);
  }
}

function isPinned(meta: number): boolean {
  const kind = kindOf(meta);
  return kind === NodeKind.pinned || kind === NodeKind.alias;
}
