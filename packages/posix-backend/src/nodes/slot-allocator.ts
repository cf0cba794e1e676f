import {
  BLOCK_SLOTS,
  header,
  MAX_SLOTS,
  type NodeMemory,
  record,
  SLOT_BITS,
} from "./node-memory.js";

export const MAX_GENERATION = 2 ** (53 - SLOT_BITS) - 1;

/** Slot and generation as one number, below 2^53 and never the same for two nodes. */
export function nodeidOf(slot: number, generation: number): number {
  return generation * MAX_SLOTS + slot;
}

/** Whether a number can be a nodeid (or a handle, which are made alike). */
export function isNodeid(value: number): boolean {
  return Number.isSafeInteger(value) && slotOfNodeid(value) > 0;
}

export function slotOfNodeid(nodeid: number): number {
  // The remainder, of any integer below 2^53.
  return nodeid & (MAX_SLOTS - 1);
}

export function generationOfNodeid(nodeid: number): number {
  return Math.floor(nodeid / MAX_SLOTS);
}

/** The slot of a node; 0 for a nodeid that the client does not hold. */
export function heldSlot(memory: NodeMemory, nodeid: number): number {
  const slot = slotOfNodeid(nodeid);
  if (slot === 0 || slot >= memory.slots) return 0;
  const at = memory.recordAt(slot);
  const isHeld = memory.read(at + record.lookups) > 0;
  const isSame = memory.read(at + record.generation) === generationOfNodeid(nodeid);
  return isHeld && isSame ? slot : 0;
}

/**
 * Hands out slots of the node table, the lowest free one of the lowest block with room, so that what is
 * used stays together. A block that has emptied gives its memory back. Call it under the lock.
 *
 * A free record keeps the generation for its next use. Where that was given back too, the generation
 * floor of the table is above all that the block ever used.
 */
export class SlotAllocator {
  readonly #memory: NodeMemory;

  constructor(memory: NodeMemory) {
    this.#memory = memory;
  }

  /** A slot whose record holds its generation, and zeros else; 0 when there is none. */
  take(): number {
    const memory = this.#memory;
    const blocks = Math.ceil(memory.slots / BLOCK_SLOTS);
    let block = memory.read(header.firstFreeBlock);
    for (; block < blocks; block++) {
      const at = memory.blockAt(block);
      if (memory.read(at) === BLOCK_SLOTS) continue;
      memory.write(header.firstFreeBlock, block);
      const slot = block * BLOCK_SLOTS + this.#firstFree(at + 1);
      if (slot >= memory.slots) break;
      this.#mark(slot);
      const generationAt = memory.recordAt(slot) + record.generation;
      const floor = memory.read(header.generationFloor);
      if (memory.read(generationAt) < floor) memory.write(generationAt, floor);
      if (memory.read(generationAt) <= MAX_GENERATION) return slot;
      // Used up: it stays marked, and no nodeid comes twice.
    }
    memory.write(header.firstFreeBlock, block);
    return 0;
  }

  /** Takes a certain slot for a certain generation; false when it is not free. */
  claim(slot: number, generation: number): boolean {
    const memory = this.#memory;
    if (slot >= memory.slots || generation > MAX_GENERATION || this.#isTaken(slot)) return false;
    this.#mark(slot);
    memory.write(memory.recordAt(slot) + record.generation, generation);
    return true;
  }

  /** A generation that no node has had. */
  nextFloor(): number {
    const memory = this.#memory;
    let floor = memory.read(header.generationFloor);
    this.forEach((slot) => {
      floor = Math.max(floor, memory.read(memory.recordAt(slot) + record.generation) + 1);
    });
    return floor;
  }

  /** New nodes get generations from `floor` on. */
  raiseFloor(floor: number): void {
    const memory = this.#memory;
    memory.write(header.generationFloor, Math.max(floor, memory.read(header.generationFloor)));
  }

  give(slot: number): void {
    const memory = this.#memory;
    const at = memory.recordAt(slot);
    const next = memory.read(at + record.generation) + 1;
    memory.words.fill(0, at + 1, memory.recordAt(slot + 1));
    memory.write(at + record.generation, next);

    const block = Math.floor(slot / BLOCK_SLOTS);
    const blockAt = memory.blockAt(block);
    memory.words[blockAt + 1 + ((slot % BLOCK_SLOTS) >> 5)] =
      memory.read(blockAt + 1 + ((slot % BLOCK_SLOTS) >> 5)) & ~(1 << (slot & 31));
    memory.add(blockAt, -1);
    const firstFree = memory.read(header.firstFreeBlock);
    if (block < firstFree) memory.write(header.firstFreeBlock, block);
    // With room before it, the block is not about to be used again.
    else if (memory.read(blockAt) === 0 && block > firstFree) this.#discard(block);
  }

  /** Calls `visit` with every slot that is in use or used up; `visit` may give that slot back. */
  forEach(visit: (slot: number) => void): void {
    const memory = this.#memory;
    for (let first = 0; first < memory.slots; first += BLOCK_SLOTS) {
      const at = memory.blockAt(first / BLOCK_SLOTS);
      if (memory.read(at) === 0) continue;
      for (let slot = first; slot < first + BLOCK_SLOTS; slot++) {
        if (this.#isTaken(slot)) visit(slot);
      }
    }
  }

  #isTaken(slot: number): boolean {
    const at = this.#memory.blockAt(Math.floor(slot / BLOCK_SLOTS)) + 1;
    return (this.#memory.read(at + ((slot % BLOCK_SLOTS) >> 5)) & (1 << (slot & 31))) !== 0;
  }

  #mark(slot: number): void {
    const memory = this.#memory;
    const at = memory.blockAt(Math.floor(slot / BLOCK_SLOTS));
    const bits = at + 1 + ((slot % BLOCK_SLOTS) >> 5);
    memory.write(bits, memory.read(bits) | (1 << (slot & 31)));
    memory.add(at, 1);
  }

  /** Of the block whose bits are at `at`, which is not full. */
  #firstFree(at: number): number {
    let group = 0;
    while (this.#memory.read(at + group) === 0xffff_ffff) group++;
    const free = ~this.#memory.read(at + group);
    return group * 32 + (31 - Math.clz32(free & -free));
  }

  #discard(block: number): void {
    const memory = this.#memory;
    let floor = memory.read(header.generationFloor);
    for (let slot = block * BLOCK_SLOTS; slot < (block + 1) * BLOCK_SLOTS; slot++) {
      floor = Math.max(floor, memory.read(memory.recordAt(slot) + record.generation));
    }
    memory.write(header.generationFloor, floor);
    memory.discardBlock(block);
  }
}
