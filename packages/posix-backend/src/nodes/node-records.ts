import { ENFILE, EOPNOTSUPP } from "@supermachine/fuse-protocol";
import type { InodeFileHandles } from "../options.js";
import { IdentityIndex } from "./identity-index.js";
import { NodeFds, type OpenFileOf } from "./node-fds.js";
import { type Link, NodeFinder } from "./node-finder.js";
import { header, type NodeMemory, record } from "./node-memory.js";
import { kindOf, metaOf, NodeKind, volumeOf } from "./node-record.js";
import { RecordedNames } from "./recorded-names.js";
import { nodeidOf, SlotAllocator } from "./slot-allocator.js";
import type { StatBuffer } from "./stat-buffer.js";
import { VolumeTable } from "./volume-table.js";

export const ROOT_NODEID = 1;
export const ROOT_SLOT = 1;
/** A node looked up so often is never forgotten; its lookups are no longer counted. */
export const MAX_LOOKUPS = 0xffff_ffff;

/**
 * The records of nodes, and everything that refers to them: how one is made, and all that ends with it. What
 * changes a record is called under the lock.
 */
export class NodeRecords {
  readonly memory: NodeMemory;
  readonly slots: SlotAllocator;
  readonly volumes: VolumeTable;
  readonly names: RecordedNames;
  readonly finder: NodeFinder;
  readonly fds: NodeFds;
  readonly #policy: InodeFileHandles;
  readonly #index: IdentityIndex;

  constructor(
    memory: NodeMemory,
    thread: number,
    procFd: number,
    policy: InodeFileHandles,
    openFileOf: OpenFileOf,
  ) {
    this.memory = memory;
    this.#policy = policy;
    this.slots = new SlotAllocator(memory);
    this.#index = new IdentityIndex(memory);
    this.volumes = new VolumeTable(memory, procFd, policy !== "never");
    this.names = new RecordedNames(memory, this.slots);
    this.finder = new NodeFinder(memory, this.#index, this.names);
    this.fds = new NodeFds(memory, thread, procFd, this.volumes, this.names, openFileOf);
  }

  isNode(slot: number): boolean {
    const kind = kindOf(this.memory.read(this.memory.recordAt(slot) + record.meta));
    return kind !== 0 && kind !== NodeKind.name;
  }

  nodeidOf(slot: number): number {
    return nodeidOf(slot, this.memory.read(this.memory.recordAt(slot) + record.generation));
  }

  countLookup(slot: number): void {
    const at = this.memory.recordAt(slot) + record.lookups;
    const lookups = this.memory.read(at);
    if (lookups !== MAX_LOOKUPS) this.memory.write(at, lookups + 1);
  }

  /** Makes the inode of `rootFd` the root, and takes over `rootFd`. Once, before anything else. */
  setRoot(rootFd: number, stat: StatBuffer): void {
    const volume = this.volumes.add(rootFd, stat);
    // Slot 0 stands for "none".
    this.slots.claim(0, 0);
    this.slots.claim(ROOT_SLOT, 0);
    const at = this.memory.recordAt(ROOT_SLOT);
    this.#describe(at, stat, metaOf(NodeKind.pinned, stat.mode, volume), 1);
    this.fds.pin(ROOT_SLOT, rootFd);
    this.memory.add(header.nodes, 1);
    this.#index.insert(ROOT_SLOT);
  }

  /** The slot of a new node; or a negated errno, with `fd` left to the caller. */
  insert(
    fd: number,
    stat: StatBuffer,
    volume: number,
    link: Link | undefined,
    parent: number,
    name: Uint8Array,
  ): number {
    const slot = this.slots.take();
    if (slot === 0) return -ENFILE;
    this.memory.add(header.nodes, 1);
    const result = this.fill(slot, fd, stat, volume, link, parent, name, 1);
    if (result === 0) return slot;
    this.memory.add(header.nodes, -1);
    this.slots.give(slot);
    return result;
  }

  /** Describes a node in a slot that is its own; 0, or a negated errno with `fd` left to the caller. */
  fill(
    slot: number,
    fd: number,
    stat: StatBuffer,
    volume: number,
    link: Link | undefined,
    parent: number,
    name: Uint8Array,
    lookups: number,
  ): number {
    const memory = this.memory;
    const hasHandles = this.volumes.mountFd(volume) >= 0;
    if (!hasHandles && this.#policy === "mandatory") return -EOPNOTSUPP;
    const mayPin = memory.read(header.pinned) < memory.read(header.maxPinned);
    const mustPin = link !== undefined || (!hasHandles && parent === 0);
    if (mustPin && !mayPin) return -ENFILE;

    const pin = mustPin || (!hasHandles && mayPin);
    const kind = link !== undefined ? NodeKind.alias : pin ? NodeKind.pinned : NodeKind.cached;
    const at = memory.recordAt(slot);
    this.#describe(at, stat, metaOf(kind, stat.mode, volume), lookups);
    if (link !== undefined) {
      memory.write(at + record.payload, link.volume);
      memory.write(at + record.payload + 1, link.inoLow);
      memory.write(at + record.payload + 2, link.inoHigh);
    }
    if (!hasHandles && !pin) {
      const birth = [stat.birthSeconds, stat.birthNanoseconds] as const;
      if (!this.names.record(slot, parent, name, birth)) return -ENFILE;
    }
    this.volumes.retain(volume);
    this.#index.insert(slot);
    if (pin) {
      this.fds.pin(slot, fd);
    } else {
      this.fds.put(slot, fd);
    }
    return 0;
  }

  #describe(at: number, stat: StatBuffer, meta: number, lookups: number): void {
    this.memory.write(at + record.lookups, lookups);
    this.memory.write(at + record.inoLow, stat.inoLow);
    this.memory.write(at + record.inoHigh, stat.inoHigh);
    this.memory.write(at + record.meta, meta);
  }

  remove(slot: number): void {
    const memory = this.memory;
    const at = memory.recordAt(slot);
    const meta = memory.read(at + record.meta);
    const kind = kindOf(meta);
    memory.add(header.nodes, -1);
    if (kind === NodeKind.gone) {
      this.slots.give(slot);
      return;
    }
    this.#index.remove(slot);
    this.fds.release(slot);
    this.names.free(slot);
    this.slots.give(slot);
    this.releaseVolume(volumeOf(meta));
  }

  releaseVolume(volume: number): void {
    this.fds.discard(this.volumes.release(volume));
  }
}
