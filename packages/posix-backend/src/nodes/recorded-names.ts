import { header, type NodeMemory, PAYLOAD_WORDS, record } from "./node-memory.js";
import { kindOf, metaOf, NodeKind, setKind } from "./node-record.js";
import {
  generationOfNodeid,
  nodeidOf,
  type SlotAllocator,
  slotOfNodeid,
} from "./slot-allocator.js";

/** Word offsets in the payload of a named node. */
const at = {
  parentSlot: 0,
  parentGeneration: 1,
  birthSeconds: 2,
  birthNanoseconds: 3,
  /** Where the name goes on, and above 24 bits its length. */
  more: 4,
  name: 5,
} as const;
const FIRST_BYTES = (PAYLOAD_WORDS - at.name) * 4;
const MORE_BYTES = PAYLOAD_WORDS * 4;

/**
 * The names of nodes that have neither an fd nor a file handle: under which name in which directory each was
 * last seen. Long ones go on in slots of their own. Call it under the lock.
 */
export class RecordedNames {
  readonly #memory: NodeMemory;
  readonly #slots: SlotAllocator;

  constructor(memory: NodeMemory, slots: SlotAllocator) {
    this.#memory = memory;
    this.#slots = slots;
  }

  /**
   * Makes a node a named one, or changes its name. False, and nothing changed, when no slot is free.
   *
   * @param name - Ended with a NUL.
   */
  record(
    slot: number,
    parent: number,
    name: Uint8Array,
    birth: readonly [number, number],
  ): boolean {
    const memory = this.#memory;
    const length = name.indexOf(0);
    const spare: number[] = [];
    for (let left = length - FIRST_BYTES; left > 0; left -= MORE_BYTES) {
      const more = this.#slots.take();
      if (more !== 0) {
        memory.write(memory.recordAt(more) + record.meta, metaOf(NodeKind.name, 0, 0));
        spare.push(more);
        continue;
      }
      for (const taken of spare) this.#slots.give(taken);
      return false;
    }
    this.free(slot);
    const recordAt = memory.recordAt(slot);
    const payload = recordAt + record.payload;
    setKind(memory, recordAt, NodeKind.named, 0);
    memory.add(header.named, 1);
    memory.write(payload + at.parentSlot, slotOfNodeid(parent));
    memory.write(payload + at.parentGeneration, generationOfNodeid(parent));
    memory.write(payload + at.birthSeconds, birth[0]);
    memory.write(payload + at.birthNanoseconds, birth[1]);
    memory.write(payload + at.more, ((spare[0] ?? 0) | (length << 24)) >>> 0);
    this.#bytes(payload + at.name, FIRST_BYTES).set(
      name.subarray(0, Math.min(length, FIRST_BYTES)),
    );
    let done = FIRST_BYTES;
    for (const [i, more] of spare.entries()) {
      const moreAt = memory.recordAt(more);
      memory.write(moreAt + record.next, spare[i + 1] ?? 0);
      const part = name.subarray(done, Math.min(length, done + MORE_BYTES));
      this.#bytes(moreAt + record.payload, MORE_BYTES).set(part);
      done += MORE_BYTES;
    }
    return true;
  }

  /** Gives back what the name of a node takes beside its record, if it is a named one. */
  free(slot: number): void {
    const memory = this.#memory;
    const recordAt = memory.recordAt(slot);
    if (kindOf(memory.read(recordAt + record.meta)) !== NodeKind.named) return;
    memory.add(header.named, -1);
    let more = memory.read(recordAt + record.payload + at.more) & 0xff_ffff;
    while (more !== 0) {
      const next = memory.read(memory.recordAt(more) + record.next);
      this.#slots.give(more);
      more = next;
    }
    setKind(memory, recordAt, NodeKind.cached, 0);
  }

  /** Writes the name of a named node to `name`, ended with a NUL, and returns the nodeid of its directory. */
  read(slot: number, name: Uint8Array): number {
    const memory = this.#memory;
    const payload = memory.recordAt(slot) + record.payload;
    const packed = memory.read(payload + at.more);
    const length = packed >>> 24;
    name.set(this.#bytes(payload + at.name, Math.min(length, FIRST_BYTES)));
    let done = FIRST_BYTES;
    for (let more = packed & 0xff_ffff; more !== 0; done += MORE_BYTES) {
      const moreAt = memory.recordAt(more);
      name.set(this.#bytes(moreAt + record.payload, Math.min(length - done, MORE_BYTES)), done);
      more = memory.read(moreAt + record.next);
    }
    name[length] = 0;
    return nodeidOf(
      memory.read(payload + at.parentSlot),
      memory.read(payload + at.parentGeneration),
    );
  }

  /** Whether the inode of a named node was born at that time. */
  bornAt(slot: number, birth: readonly [number, number]): boolean {
    const payload = this.#memory.recordAt(slot) + record.payload;
    return (
      this.#memory.read(payload + at.birthSeconds) === birth[0] &&
      this.#memory.read(payload + at.birthNanoseconds) === birth[1]
    );
  }

  #bytes(word: number, length: number): Uint8Array {
    return new Uint8Array(this.#memory.buffer, word * 4, length);
  }
}
