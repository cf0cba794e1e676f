import { randomBytes } from "node:crypto";
import { addressOf } from "@supermachine-internal/libc";
import { PosixBackendError } from "../error.js";
import { RING_WORDS } from "../handles/position-ring.js";
import { discardPages, yieldProcessor } from "../platform/host.js";

const WORD = 4;
const PAGE = 4096;
const SPINS_BEFORE_YIELD = 64;

/** Nodeids have this many bits for the slot; the 29 bits above, up to 2^53, count its uses. */
export const SLOT_BITS = 24;
export const MAX_SLOTS = 2 ** SLOT_BITS;
export const MAX_VOLUMES = 1024;
export const MAX_THREADS = 32;

/** Slots that come and go together: their records are whole pages. */
export const BLOCK_SLOTS = 1024;

/** Word offsets in the header of the memory. All but the first are written under the lock. */
export const header = {
  lock: 0,
  /** Set at birth. */
  slots: 1,
  handles: 2,
  threads: 3,
  cacheSets: 4,
  maxPinned: 5,
  hashSeed: 6,
  recordsAt: 7,
  /** Bit per thread that is attached. */
  attached: 8,
  nodes: 9,
  pinned: 10,
  named: 11,
  buckets: 12,
  /** No block before this one has a free slot. */
  firstFreeBlock: 13,
  /** Generations below this one may have been used for a slot whose record was discarded. */
  generationFloor: 14,
  openHandles: 15,
  usedHandles: 16,
  freeHandle: 17,
  ringsInUse: 19,
  /** Tells this layout from other memory. */
  magic: 18,
} as const;
const HEADER_WORDS = 32;
const MAGIC = 0x534e_4d31;

/** Word offsets in the record of a node. */
export const record = {
  generation: 0,
  lookups: 1,
  inoLow: 2,
  inoHigh: 3,
  /** The next node in the same hash bucket. */
  next: 4,
  /** See `node-record.ts`. */
  meta: 5,
  /** Bit per thread that has an fd of the inode in its cache. */
  cachedBy: 6,
  /** Of a pinned inode. */
  fd: 7,
  /** 40 bytes. */
  payload: 8,
} as const;
export const RECORD_WORDS = 18;
export const PAYLOAD_WORDS = RECORD_WORDS - record.payload;

/** Word offsets in the record of a volume: a mounted file system, the scope of inode numbers. */
export const volume = {
  deviceMajor: 0,
  deviceMinor: 1,
  mountIdLow: 2,
  mountIdHigh: 3,
  nodes: 4,
  /** The fd beneath which file handles are opened, plus one; 0 where they cannot be. */
  mountFd: 5,
} as const;
const VOLUME_WORDS = 6;

/** Word offsets in the record of an open file or directory. */
export const handle = {
  generation: 0,
  /** 0 when free. */
  state: 1,
  fd: 2,
  /** When free, the next free one. */
  flags: 3,
  nodeidLow: 4,
  nodeidHigh: 5,
  pins: 6,
  /** Of a directory, the ring of positions that its threads use, from 1 on. */
  ring: 7,
} as const;
export const HANDLE_WORDS = 8;
/** As many as there are bits in a word. */
const RINGS = 32;

/** Of a block of slots: how many are used, then a bit for each. */
const BLOCK_WORDS = 1 + BLOCK_SLOTS / 32;

export const CACHE_WAYS = 8;
/** A slot and an fd. */
export const CACHE_ENTRY_WORDS = 2;

export interface NodeMemorySize {
  /** How many nodes, the root and the unused slot 0 included. */
  readonly slots: number;
  readonly handles: number;
  readonly threads: number;
  /** Of each thread's fd cache, in sets of {@link CACHE_WAYS}. */
  readonly cacheSets: number;
  /** How many nodes may keep an fd of their own. */
  readonly maxPinned: number;
}

/**
 * The memory of the node table and the handle table, which several threads may work on: numbers of 32
 * bits in one `SharedArrayBuffer`. Pages of it that were never written take no memory, so it is as
 * large as its limits ask for. It is collected with the last reference to it: no thread can be left with a
 * view of memory that is gone, as could be with mmap(2).
 *
 * A record per node, not an array per field: a request touches most fields of one node, which are
 * then in one or two cache lines, and the pages of a block of records can be given back together.
 */
export class NodeMemory {
  readonly buffer: SharedArrayBuffer;
  readonly words: Uint32Array;
  readonly slots: number;
  readonly threads: number;
  readonly cacheSets: number;
  readonly handles: number;
  readonly recordsAt: number;
  readonly #volumesAt: number;
  readonly #handlesAt: number;
  readonly #ringsAt: number;
  readonly #cachesAt: number;
  readonly #blocksAt: number;
  readonly bucketsAt: number;
  readonly #address: bigint;

  /** Memory of the given size, or that which another thread has allocated. */
  constructor(from: NodeMemorySize | SharedArrayBuffer) {
    const size = from instanceof SharedArrayBuffer ? sizeOf(from) : from;
    const slots = Math.ceil(size.slots / BLOCK_SLOTS) * BLOCK_SLOTS;
    this.slots = size.slots;
    this.threads = size.threads;
    this.cacheSets = size.cacheSets;
    this.handles = size.handles;
    this.#volumesAt = HEADER_WORDS;
    this.#handlesAt = this.#volumesAt + MAX_VOLUMES * VOLUME_WORDS;
    this.#ringsAt = this.#handlesAt + (size.handles + 1) * HANDLE_WORDS;
    this.#cachesAt = this.#ringsAt + (size.threads > 1 ? RINGS * RING_WORDS : 0);
    this.#blocksAt = this.#cachesAt + size.threads * this.#cacheWords;
    this.bucketsAt = this.#blocksAt + (slots / BLOCK_SLOTS) * BLOCK_WORDS;
    const recordsEnd = this.bucketsAt + slots;
    const length = (recordsEnd + slots * RECORD_WORDS) * WORD + PAGE;
    this.buffer = from instanceof SharedArrayBuffer ? from : new SharedArrayBuffer(length);
    this.words = new Uint32Array(this.buffer);
    this.#address = addressOf(this.words);
    // Records begin at a page, which a SharedArrayBuffer itself does not.
    const misaligned = Number((this.#address + BigInt(recordsEnd * WORD)) % BigInt(PAGE));
    this.recordsAt = recordsEnd + ((PAGE - misaligned) % PAGE) / WORD;
    if (!(from instanceof SharedArrayBuffer)) this.#initialize(size);
  }

  get #cacheWords(): number {
    return this.cacheSets * CACHE_WAYS * CACHE_ENTRY_WORDS;
  }

  #initialize(size: NodeMemorySize): void {
    const { words } = this;
    words[header.magic] = MAGIC;
    words[header.slots] = size.slots;
    words[header.handles] = size.handles;
    words[header.threads] = size.threads;
    words[header.cacheSets] = size.cacheSets;
    words[header.maxPinned] = size.maxPinned;
    words[header.hashSeed] = randomBytes(4).readUInt32LE();
  }

  read(at: number): number {
    return this.words[at] as number;
  }

  write(at: number, value: number): void {
    this.words[at] = value;
  }

  add(at: number, difference: number): void {
    this.words[at] = (this.words[at] as number) + difference;
  }

  /** The word at which the record of a slot begins. */
  recordAt(slot: number): number {
    return this.recordsAt + slot * RECORD_WORDS;
  }

  volumeAt(index: number): number {
    return this.#volumesAt + index * VOLUME_WORDS;
  }

  handleAt(index: number): number {
    return this.#handlesAt + index * HANDLE_WORDS;
  }

  /** @param number - From 1 on. */
  ringAt(number: number): number {
    return this.#ringsAt + (number - 1) * RING_WORDS;
  }

  blockAt(block: number): number {
    return this.#blocksAt + block * BLOCK_WORDS;
  }

  cacheAt(thread: number): number {
    return this.#cachesAt + thread * this.#cacheWords;
  }

  /**
   * Begins a change that other threads must see whole. Such changes take some hundred nanoseconds, so a
   * thread that waits spins, and lets others run when that takes longer: the holder may be preempted.
   */
  lock(): void {
    if (this.threads === 1) return;
    for (let spins = 1; Atomics.compareExchange(this.words, header.lock, 0, 1) !== 0; spins++) {
      if (spins % SPINS_BEFORE_YIELD === 0) yieldProcessor();
    }
  }

  unlock(): void {
    if (this.threads > 1) Atomics.store(this.words, header.lock, 0);
  }

  /** Gives the memory of a whole block of records back: they read as zeros. */
  discardBlock(block: number): void {
    this.#discard(this.recordAt(block * BLOCK_SLOTS), BLOCK_SLOTS * RECORD_WORDS);
  }

  /** Gives back a page of hash buckets, all of them empty: the first whole one from bucket `first` on. */
  discardBuckets(first: number): void {
    if (first + (2 * PAGE) / WORD > this.slots) return;
    const from = this.#address + BigInt((this.bucketsAt + first) * WORD);
    const aligned = (from + BigInt(PAGE - 1)) & ~BigInt(PAGE - 1);
    this.#discard(Number(aligned - this.#address) / WORD, PAGE / WORD);
  }

  #discard(at: number, count: number): void {
    discardPages(this.#address + BigInt(at * WORD), this.words.subarray(at, at + count));
  }
}

function sizeOf(buffer: SharedArrayBuffer): NodeMemorySize {
  const isOurs = buffer.byteLength > HEADER_WORDS * WORD;
  const words = new Uint32Array(isOurs ? buffer : new ArrayBuffer(HEADER_WORDS * WORD));
  if (words[header.magic] !== MAGIC) {
    throw new PosixBackendError("ERR_POSIX_THREAD", "this is not the memory of a SharedPosixShare");
  }
  return {
    slots: words[header.slots] ?? 0,
    handles: words[header.handles] ?? 0,
    threads: words[header.threads] ?? 0,
    cacheSets: words[header.cacheSets] ?? 0,
    maxPinned: words[header.maxPinned] ?? 0,
  };
}

/** Registers one more thread; throws `ERR_POSIX_THREAD` when there are as many as the memory is made for. */
export function attachThread(memory: NodeMemory): number {
  for (let thread = 0; thread < memory.threads; thread++) {
    const before = Atomics.or(memory.words, header.attached, 1 << thread);
    if ((before & (1 << thread)) === 0) return thread;
  }
  throw new PosixBackendError(
    "ERR_POSIX_THREAD",
    `${memory.threads - 1} threads serve the directory already; ask for more when it is shared`,
  );
}

export function detachThread(memory: NodeMemory, thread: number): void {
  Atomics.and(memory.words, header.attached, ~(1 << thread));
}
