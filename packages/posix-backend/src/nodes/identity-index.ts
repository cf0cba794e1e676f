import { header, type NodeMemory, record } from "./node-memory.js";

const MIN_BUCKETS = 1024;

/**
 * Finds nodes by the identity of their inode: a hash table with chains through the records. It grows and
 * shrinks by one bucket with each node (linear hashing: Litwin, VLDB 1980), so that no request pays for
 * rehashing a million others. The hash is seeded: a client that picks its inode numbers gains nothing.
 * Call it under the lock.
 */
export class IdentityIndex {
  readonly #memory: NodeMemory;

  constructor(memory: NodeMemory) {
    this.#memory = memory;
    if (memory.read(header.buckets) === 0) {
      memory.write(header.buckets, Math.min(MIN_BUCKETS, memory.slots));
    }
  }

  /** The first node in the chain of an identity; follow it with {@link next}. 0 ends it. */
  first(volume: number, inoLow: number, inoHigh: number): number {
    return this.#memory.read(this.#bucketAt(this.#hash(volume, inoLow, inoHigh)));
  }

  next(slot: number): number {
    return this.#memory.read(this.#memory.recordAt(slot) + record.next);
  }

  /** Adds a node whose record holds its identity. */
  insert(slot: number): void {
    const memory = this.#memory;
    this.#link(slot);
    const buckets = memory.read(header.buckets);
    if (memory.read(header.nodes) > buckets && buckets < memory.slots) this.#split(buckets);
  }

  /** Takes a node out, if it is in. */
  remove(slot: number): void {
    const memory = this.#memory;
    this.#unlink(slot);
    const buckets = memory.read(header.buckets);
    if (buckets > MIN_BUCKETS && memory.read(header.nodes) * 2 < buckets) this.#merge(buckets - 1);
  }

  #hash(volume: number, inoLow: number, inoHigh: number): number {
    let h = Math.imul(inoLow ^ this.#memory.read(header.hashSeed), 0x9e37_79b1);
    h = Math.imul(h ^ (h >>> 15) ^ inoHigh, 0x85eb_ca6b);
    h = Math.imul(h ^ (h >>> 13) ^ volume, 0xc2b2_ae35);
    return (h ^ (h >>> 16)) >>> 0;
  }

  #hashOf(slot: number): number {
    const at = this.#memory.recordAt(slot);
    return this.#hash(
      this.#memory.read(at + record.meta) >>> 16,
      this.#memory.read(at + record.inoLow),
      this.#memory.read(at + record.inoHigh),
    );
  }

  /** The buckets from `half` on are the second halves of those from 0 on, as far as these are split. */
  #bucketAt(hash: number): number {
    const buckets = this.#memory.read(header.buckets);
    const half = 1 << (31 - Math.clz32(buckets));
    let bucket = hash & (2 * half - 1);
    if (bucket >= buckets) bucket &= half - 1;
    return this.#memory.bucketsAt + bucket;
  }

  #link(slot: number): void {
    const memory = this.#memory;
    const at = this.#bucketAt(this.#hashOf(slot));
    memory.write(memory.recordAt(slot) + record.next, memory.read(at));
    memory.write(at, slot);
  }

  #unlink(slot: number): void {
    const memory = this.#memory;
    let at = this.#bucketAt(this.#hashOf(slot));
    for (let other = memory.read(at); other !== 0; other = memory.read(at)) {
      const nextAt = memory.recordAt(other) + record.next;
      if (other === slot) {
        memory.write(at, memory.read(nextAt));
        return;
      }
      at = nextAt;
    }
  }

  /** Adds bucket number `added`, and moves into it what belongs there. */
  #split(added: number): void {
    const memory = this.#memory;
    const half = 1 << (31 - Math.clz32(added));
    memory.write(header.buckets, added + 1);
    this.#relinkAll(memory.bucketsAt + added - half);
  }

  /** Takes the last bucket, number `last`, away. */
  #merge(last: number): void {
    const memory = this.#memory;
    memory.write(header.buckets, last);
    this.#relinkAll(memory.bucketsAt + last);
    if (last % MIN_BUCKETS === 0) memory.discardBuckets(last);
  }

  #relinkAll(bucketAt: number): void {
    const memory = this.#memory;
    let slot = memory.read(bucketAt);
    memory.write(bucketAt, 0);
    while (slot !== 0) {
      const next = this.next(slot);
      this.#link(slot);
      slot = next;
    }
  }
}
