import { CACHE_ENTRY_WORDS, CACHE_WAYS, type NodeMemory, record } from "./node-memory.js";

const NONE = -1;

/**
 * The O_PATH fds that one thread keeps of nodes, so that it need not reopen them for each request.
 * Each node may be in one set of eight, and replaces there what was used longest ago: the last seven fds that an
 * operation was given are never closed under it.
 *
 * Only its own thread looks up and adds. It lies in the shared memory because the thread that forgets a node
 * must close every fd of it, or a removed file would keep its space while another thread is idle. No
 * request uses a node that the kernel has forgotten, so no fd is closed under its user.
 */
export class FdCache {
  readonly #memory: NodeMemory;
  readonly #at: number;
  readonly #sets: number;
  readonly #bit: number;
  readonly #usedAt: Float64Array;
  #uses = 0;
  /** What the last {@link put} pushed out; `evictedFd` is -1 when that was nothing. */
  evictedSlot = 0;
  evictedFd = NONE;

  constructor(memory: NodeMemory, thread: number) {
    this.#memory = memory;
    this.#at = memory.cacheAt(thread);
    this.#sets = memory.cacheSets;
    this.#bit = 1 << thread;
    this.#usedAt = new Float64Array(this.#sets * CACHE_WAYS);
  }

  /** The fd of a node that is in use, or -1. */
  find(slot: number): number {
    const { words } = this.#memory;
    const first = (slot % this.#sets) * CACHE_WAYS;
    let at = this.#at + first * CACHE_ENTRY_WORDS;
    for (let way = first; way < first + CACHE_WAYS; way++) {
      if (words[at] === slot) {
        this.#usedAt[way] = ++this.#uses;
        return words[at + 1] as number;
      }
      at += CACHE_ENTRY_WORDS;
    }
    return NONE;
  }

  /** Adds an fd of a node that is not in this cache, under the lock. The caller closes what it evicts. */
  put(slot: number, fd: number): void {
    const memory = this.#memory;
    const first = (slot % this.#sets) * CACHE_WAYS;
    let victim = first;
    for (let way = first; way < first + CACHE_WAYS; way++) {
      if (memory.read(this.#at + way * CACHE_ENTRY_WORDS) === 0) {
        victim = way;
        break;
      }
      if ((this.#usedAt[way] as number) < (this.#usedAt[victim] as number)) victim = way;
    }
    const at = this.#at + victim * CACHE_ENTRY_WORDS;
    this.evictedSlot = memory.read(at);
    this.evictedFd = this.evictedSlot === 0 ? NONE : memory.read(at + 1);
    if (this.evictedSlot !== 0) this.#mark(this.evictedSlot, false);
    memory.write(at, slot);
    memory.write(at + 1, fd);
    this.#usedAt[victim] = ++this.#uses;
    this.#mark(slot, true);
  }

  /** Takes everything out, under the lock, and hands each node and its fd to `visit`. */
  drain(visit: (slot: number, fd: number) => void): void {
    const memory = this.#memory;
    const end = this.#at + this.#sets * CACHE_WAYS * CACHE_ENTRY_WORDS;
    for (let at = this.#at; at < end; at += CACHE_ENTRY_WORDS) {
      const slot = memory.read(at);
      if (slot === 0) continue;
      memory.write(at, 0);
      this.#mark(slot, false);
      visit(slot, memory.read(at + 1));
    }
  }

  #mark(slot: number, cached: boolean): void {
    const at = this.#memory.recordAt(slot) + record.cachedBy;
    const bits = this.#memory.read(at);
    this.#memory.write(at, cached ? bits | this.#bit : bits & ~this.#bit);
  }
}

/** The fd that `thread` has of a node which its bit in `cachedBy` says it has. Call it under the lock. */
export function cachedFd(memory: NodeMemory, thread: number, slot: number): number {
  return memory.read(entryAt(memory, thread, slot) + 1);
}

/** Takes the node out of the cache of `thread`, and returns the fd it had there. */
export function takeCachedFd(memory: NodeMemory, thread: number, slot: number): number {
  const at = entryAt(memory, thread, slot);
  memory.write(at, 0);
  return memory.read(at + 1);
}

function entryAt(memory: NodeMemory, thread: number, slot: number): number {
  let at = memory.cacheAt(thread) + (slot % memory.cacheSets) * CACHE_WAYS * CACHE_ENTRY_WORDS;
  while (memory.read(at) !== slot) at += CACHE_ENTRY_WORDS;
  return at;
}
