/** Slots of the two tables, powers of two: about 1.5 MB together. */
const NAME_SLOTS = 1 << 16;
const NODE_SLOTS = 1 << 15;

// Words before the tables.
const COMPLETE = 0;
const WATCHES = 1;
const WORDS = 4;

const F64 = Float64Array.BYTES_PER_ELEMENT;
const U32 = Uint32Array.BYTES_PER_ELEMENT;
const MEMORY_BYTES = WORDS * U32 + NAME_SLOTS * (U32 + F64) + 3 * NODE_SLOTS * F64;

/** What a name stands for, beside a nodeid. */
export const ABSENT = 0;
/** The client holds nothing for the name. */
export const NOTHING = -1;

/** For how long an event may be the echo of what the client itself did, in milliseconds. */
const ECHO_MS = 2000;
/** The client was not told attributes since it changed the node: its kernel asks before it uses them. */
const STALE = -1;

/**
 * The time of a change as one number: nanoseconds, of seconds modulo 24 days. Two changes that the client
 * could mix up lie closer together.
 */
function changeTime(seconds: number, nanoseconds: number): number {
  return (seconds % 0x20_0000) * 1e9 + nanoseconds;
}

/**
 * What the client was last told: what each name stands for, and as of which change it knows each node. An
 * event that finds the host as the client knows it needs no notification, so what the client does itself
 * is not told back to it.
 *
 * Two direct-mapped tables of fixed size: newer knowledge displaces older, and what is not known here
 * is told once more, or has names looked up once more. They hold hashes of names; a hash of 32 bits and a nodeid that agree by chance would
 * suppress a notification, which is less likely than a failing disk.
 *
 * The tables lie in memory that threads may share, without a lock: what two threads write at once comes out as
 * knowledge that fits nothing, and is told once more.
 */
export class ClientView {
  /** To make views of the same knowledge on other threads. */
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #names: Uint32Array;
  readonly #meanings: Float64Array;
  readonly #nodeids: Float64Array;
  readonly #changeTimes: Float64Array;
  readonly #changedAt: Float64Array;
  #slot = 0;
  #hash = 0;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(MEMORY_BYTES)) {
    this.memory = memory;
    let at = WORDS * U32;
    const floats = (length: number): Float64Array => {
      const start = at;
      at += length * F64;
      return new Float64Array(memory, start, length);
    };
    this.#words = new Int32Array(memory, 0, WORDS);
    this.#meanings = floats(NAME_SLOTS);
    this.#nodeids = floats(NODE_SLOTS);
    this.#changeTimes = floats(NODE_SLOTS);
    this.#changedAt = floats(NODE_SLOTS);
    this.#names = new Uint32Array(memory, at, NAME_SLOTS);
  }

  /** Every name that the client knows is in a directory that is watched. */
  get complete(): boolean {
    return Atomics.load(this.#words, COMPLETE) === 1;
  }

  set complete(value: boolean) {
    Atomics.store(this.#words, COMPLETE, value ? 1 : 0);
  }

  /** How many directories are watched. */
  get watches(): number {
    return Atomics.load(this.#words, WATCHES);
  }

  set watches(value: number) {
    Atomics.store(this.#words, WATCHES, value);
  }

  /** @param meaning - A nodeid, {@link ABSENT}, {@link NOTHING}, or undefined for what is not known here. */
  tellName(parent: number, name: string, meaning: number | undefined): void {
    this.#find(parent, name);
    this.#names[this.#slot] = meaning === undefined ? 0 : this.#hash;
    this.#meanings[this.#slot] = meaning ?? NOTHING;
  }

  /** What the client was told that a name stands for; undefined when that is not known here. */
  meaning(parent: number, name: string): number | undefined {
    this.#find(parent, name);
    return this.#names[this.#slot] === this.#hash ? this.#meanings[this.#slot] : undefined;
  }

  /** The client got the attributes of a node, with this time of the last change. */
  tellAttributes(nodeid: number, ctime: number, ctimensec: number): void {
    const slot = nodeSlot(nodeid);
    if (this.#nodeids[slot] !== nodeid) {
      this.#nodeids[slot] = nodeid;
      this.#changedAt[slot] = Number.NEGATIVE_INFINITY;
    }
    this.#changeTimes[slot] = changeTime(ctime, ctimensec);
  }

  /**
   * The client is about to change a node in a way after which its kernel asks for the attributes again:
   * it writes, or changes what is in a directory.
   */
  clientChanges(nodeid: number): void {
    const slot = nodeSlot(nodeid);
    this.#nodeids[slot] = nodeid;
    this.#changeTimes[slot] = STALE;
    this.#changedAt[slot] = Date.now();
  }

  /**
   * Whether an event may be but the echo of what the client did, which has just changed the node. If so, it
   * has either seen the latest change ("seen"), or will ask before it uses contents, size or times ("asks").
   *
   * A later change by the host has another time: the kernel gives times that were looked at no second use
   * (Linux 6.13); before that, two changes within one tick (4 ms) may share one.
   */
  echo(nodeid: number, ctime: number, ctimensec: number): "none" | "seen" | "asks" {
    const slot = nodeSlot(nodeid);
    if (this.#nodeids[slot] !== nodeid) return "none";
    if (Date.now() - (this.#changedAt[slot] ?? 0) > ECHO_MS) return "none";
    const told = this.#changeTimes[slot];
    if (told === STALE) return "asks";
    return told === changeTime(ctime, ctimensec) ? "seen" : "none";
  }

  /** The client is gone. */
  clear(): void {
    this.#names.fill(0);
    this.#nodeids.fill(0);
  }

  /** Two FNV-1a hashes in one pass: one picks the slot, the other tells names in it apart. */
  #find(parent: number, name: string): void {
    let slot = 0x811c_9dc5 ^ parent;
    let hash = Math.imul(0x9747_b28c ^ parent, 0x0100_0193) ^ (parent / 2 ** 32);
    for (let i = 0; i < name.length; i++) {
      const code = name.charCodeAt(i);
      slot = Math.imul(slot ^ code, 0x0100_0193);
      hash = Math.imul(hash ^ code, 0x85eb_ca6b);
    }
    this.#slot = (slot ^ (slot >>> 16)) & (NAME_SLOTS - 1);
    // 0 is an empty slot.
    this.#hash = hash >>> 0 || 1;
  }
}

function nodeSlot(nodeid: number): number {
  return Math.imul(nodeid, 0x9e37_79b1) >>> (32 - Math.log2(NODE_SLOTS));
}
