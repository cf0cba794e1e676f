import { ENFILE, ESTALE } from "@supermachine/fuse-protocol";
import { header, record } from "./node-memory.js";
import { metaOf, NodeKind } from "./node-record.js";
import { type NodeRecords, ROOT_NODEID } from "./node-records.js";
import { generationOfNodeid, slotOfNodeid } from "./slot-allocator.js";
import type { StatBuffer } from "./stat-buffer.js";

/** Nodes that a client holds from before: first their numbers are taken, then their inodes found again. */
export class NodeRevival {
  readonly #records: NodeRecords;

  constructor(records: NodeRecords) {
    this.#records = records;
  }

  /** Whether the table is large enough for a node with this number. */
  hasRoomFor(nodeid: number): boolean {
    return slotOfNodeid(nodeid) < this.#records.memory.slots;
  }

  /** A generation that no node has had: for {@link reserve}. */
  nextGeneration(): number {
    return this.#records.slots.nextFloor();
  }

  /**
   * Adds a node that the client holds from before, with its inode gone until {@link revive} finds it; the
   * root is there. False when there is no room for it.
   */
  reserve(nodeid: number, type: number, lookups: number): boolean {
    if (nodeid === ROOT_NODEID) return true;
    const { memory, slots } = this.#records;
    const slot = slotOfNodeid(nodeid);
    if (!slots.claim(slot, generationOfNodeid(nodeid))) return false;
    const at = memory.recordAt(slot);
    memory.write(at + record.lookups, lookups);
    memory.write(at + record.meta, metaOf(NodeKind.gone, type, 0));
    memory.add(header.nodes, 1);
    return true;
  }

  /** New nodes get generations from `floor` on. */
  raiseGenerations(floor: number): void {
    this.#records.slots.raiseFloor(floor);
  }

  /**
   * The inode of a reserved node is found again, as `name` (ended with a NUL) in `parent`. Takes over `fd`, which holds
   * it; 0, or a negated errno.
   */
  revive(nodeid: number, fd: number, stat: StatBuffer, parent: number, name: Uint8Array): number {
    const { memory, volumes, finder, fds } = this.#records;
    const isNewVolume = volumes.find(stat) < 0;
    const volume = isNewVolume ? volumes.add(fd, stat) : volumes.find(stat);
    memory.lock();
    // Two nodes with one inode there cannot be: the name leads to another file than it did.
    const isTaken = volume >= 0 && finder.firstWithNumber(volume, stat.inoLow, stat.inoHigh) !== 0;
    const slot = slotOfNodeid(nodeid);
    const lookups = memory.read(memory.recordAt(slot) + record.lookups);
    let result = volume < 0 ? -ENFILE : isTaken ? -ESTALE : 0;
    if (result === 0)
      result = this.#records.fill(slot, fd, stat, volume, undefined, parent, name, lookups);
    if (result < 0) {
      fds.discard(fd);
      const gone = metaOf(NodeKind.gone, stat.mode, 0);
      memory.write(memory.recordAt(slot) + record.meta, gone);
    }
    if (isNewVolume && volume >= 0) this.#records.releaseVolume(volume);
    memory.unlock();
    fds.closeDiscarded();
    return result;
  }
}
