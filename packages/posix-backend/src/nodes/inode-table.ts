import { ENFILE, ESTALE } from "@supermachine/fuse-protocol";
import type { InodeFileHandles } from "../options.js";
import { FileHandle } from "./file-handle.js";
import type { NodeFds, OpenFileOf } from "./node-fds.js";
import { type Link, type NodeFinder, UNSURE } from "./node-finder.js";
import { header, type NodeMemory, record } from "./node-memory.js";
import { kindOf, NodeKind, typeOf, volumeOf } from "./node-record.js";
import { MAX_LOOKUPS, NodeRecords, ROOT_SLOT } from "./node-records.js";
import { NodeRevival } from "./node-revival.js";
import type { RecordedNames } from "./recorded-names.js";
import { heldSlot } from "./slot-allocator.js";
import type { StatBuffer } from "./stat-buffer.js";
import type { VolumeTable } from "./volume-table.js";

export { ROOT_NODEID } from "./node-records.js";

/** For what is not kept by name. */
const NO_NAME = new Uint8Array(1);

/**
 * The nodes that the client knows, in memory that the backends of several threads may share. Host inodes
 * are told apart by volume and inode number, so that hard links share a node, and by file handle where
 * the inode number may have gone to another file.
 *
 * A node has no fd of its own as a rule: the fds of those in use are kept in a cache per thread, and what falls
 * out of it is reopened by its file handle. Where there are none, nodes are pinned by an fd each while
 * `maxFds` lasts, and beyond it are found again by name.
 */
export class InodeTable {
  readonly #memory: NodeMemory;
  readonly #records: NodeRecords;
  readonly #volumes: VolumeTable;
  readonly #names: RecordedNames;
  readonly #finder: NodeFinder;
  readonly #fds: NodeFds;
  readonly #handle = new FileHandle();
  /** For clients that go on with nodes of before. */
  readonly revival: NodeRevival;

  constructor(
    memory: NodeMemory,
    thread: number,
    procFd: number,
    policy: InodeFileHandles,
    openFileOf: OpenFileOf,
  ) {
    const records = new NodeRecords(memory, thread, procFd, policy, openFileOf);
    this.#memory = memory;
    this.#records = records;
    this.#volumes = records.volumes;
    this.#names = records.names;
    this.#finder = records.finder;
    this.#fds = records.fds;
    this.revival = new NodeRevival(records);
  }

  /** Makes the inode of `rootFd` the root, and takes over `rootFd`. Once, before anything else. */
  setRoot(rootFd: number, stat: StatBuffer): void {
    this.#records.setRoot(rootFd, stat);
  }

  /** How many nodes there are, the root included. */
  get size(): number {
    return this.#memory.read(header.nodes);
  }

  get full(): boolean {
    // Slot 0 is none.
    return this.size + 1 >= this.#memory.slots;
  }

  /** An O_PATH handle of the root. */
  get rootFd(): number {
    return this.#memory.read(this.#memory.recordAt(ROOT_SLOT) + record.fd);
  }

  /**
   * An O_PATH handle of a node's inode, which stays the table's; or a negated errno, ESTALE for a node
   * that the client does not hold. It is good for the present operation, not longer.
   */
  fd(nodeid: number): number {
    const slot = heldSlot(this.#memory, nodeid);
    return slot === 0 ? -ESTALE : this.#fds.get(slot, nodeid);
  }

  /** The `S_IFMT` bits of a node's mode, which never change; 0 for a node that the client does not hold. */
  type(nodeid: number): number {
    const slot = heldSlot(this.#memory, nodeid);
    if (slot === 0) return 0;
    return typeOf(this.#memory.read(this.#memory.recordAt(slot) + record.meta));
  }

  /**
   * The node of the inode whose attributes `stat` holds, if the client holds it. File handles are not
   * compared: it may be a node whose inode is gone and has left its number to this one.
   */
  find(stat: StatBuffer): number | undefined {
    this.#memory.lock();
    const volume = this.#volumes.find(stat);
    const slot = volume < 0 ? 0 : this.#finder.firstWithNumber(volume, stat.inoLow, stat.inoHigh);
    const nodeid = slot === 0 ? undefined : this.#records.nodeidOf(slot);
    this.#memory.unlock();
    return nodeid;
  }

  /** Every node that the client holds, the root included. */
  nodeids(): number[] {
    const nodeids: number[] = [];
    this.#records.slots.forEach((slot) => {
      if (this.#records.isNode(slot)) nodeids.push(this.#records.nodeidOf(slot));
    });
    return nodeids;
  }

  /** Counts one more lookup of a node that the client holds; the nodeid, or a negated errno. */
  addLookup(nodeid: number): number {
    const slot = heldSlot(this.#memory, nodeid);
    if (slot === 0) return -ESTALE;
    this.#memory.lock();
    this.#records.countLookup(slot);
    this.#memory.unlock();
    return nodeid;
  }

  /**
   * Counts one more lookup of the inode that the O_PATH handle `fd` holds, and takes over `fd`. `stat`
   * holds its attributes. Returns the nodeid; or a negated errno, with `fd` closed, when the table is full.
   *
   * @param parent - The directory in which it was found as `name` (ended with a NUL); 0 for none.
   */
  adopt(fd: number, stat: StatBuffer, parent: number, name: Uint8Array): number {
    return this.#adopt(fd, stat, undefined, parent, name);
  }

  /**
   * As {@link adopt}, without an fd: counts one more lookup of the node whose attributes `stat` holds, if
   * some fd of it keeps its inode number from going to another inode. Otherwise 0.
   */
  adoptHeld(stat: StatBuffer): number {
    const memory = this.#memory;
    memory.lock();
    const volume = this.#volumes.find(stat);
    const slot = volume < 0 ? 0 : this.#finder.match(volume, stat, undefined, undefined);
    const meta = slot > 0 ? memory.read(memory.recordAt(slot) + record.meta) : 0;
    // The name of a node that is found by name must be noted, which takes the long way.
    const isHeld = slot > 0 && kindOf(meta) !== NodeKind.named;
    if (isHeld) this.#records.countLookup(slot);
    const nodeid = isHeld ? this.#records.nodeidOf(slot) : 0;
    memory.unlock();
    return nodeid;
  }

  /**
   * As {@link adopt}, for a directory that is reached through the followed symbolic link `link`. A
   * Linux client may hold a directory under one name only, so each link's view of it is its own node.
   */
  adoptAlias(fd: number, stat: StatBuffer, link: Link): number {
    return this.#adopt(fd, stat, link, 0, NO_NAME);
  }

  /** What {@link adoptAlias} knows a symbolic link by; `stat` holds its attributes. */
  linkOf(stat: StatBuffer): Link {
    return { volume: this.#volumes.find(stat), inoLow: stat.inoLow, inoHigh: stat.inoHigh };
  }

  /** How often the client was given a node that it holds. */
  lookups(nodeid: number): number {
    const slot = heldSlot(this.#memory, nodeid);
    return slot === 0 ? 0 : this.#memory.read(this.#memory.recordAt(slot) + record.lookups);
  }

  /** The node with this inode number on the volume of the node `nodeid`, as {@link find}. */
  findBeside(nodeid: number, ino: number): number | undefined {
    const slot = heldSlot(this.#memory, nodeid);
    if (slot === 0) return undefined;
    const volume = volumeOf(this.#memory.read(this.#memory.recordAt(slot) + record.meta));
    const found = this.#finder.firstWithNumber(volume, ino >>> 0, Math.floor(ino / 0x1_0000_0000));
    return found === 0 ? undefined : this.#records.nodeidOf(found);
  }

  /** Whether nodes are on more than one volume. */
  get hasSubmounts(): boolean {
    return this.#volumes.count > 1;
  }

  /** Whether there are nodes that must be told of new names, with {@link rename}. */
  get needsNames(): boolean {
    return this.#memory.read(header.named) > 0;
  }

  /** The inode that `stat` describes, if it is a node, is `name` in `parent` now. */
  rename(stat: StatBuffer, parent: number, name: Uint8Array): void {
    const memory = this.#memory;
    memory.lock();
    const volume = this.#volumes.find(stat);
    const slot = volume < 0 ? 0 : this.#finder.match(volume, stat, undefined, undefined);
    if (slot > 0 && kindOf(memory.read(memory.recordAt(slot) + record.meta)) === NodeKind.named) {
      this.#names.record(slot, parent, name, [stat.birthSeconds, stat.birthNanoseconds]);
    }
    memory.unlock();
  }

  /** Takes back `count` lookups; the root stays whatever a client says. */
  forget(nodeid: number, count: number): void {
    const slot = heldSlot(this.#memory, nodeid);
    if (slot === 0 || slot === ROOT_SLOT) return;
    this.#memory.lock();
    const lookupsAt = this.#memory.recordAt(slot) + record.lookups;
    const lookups = this.#memory.read(lookupsAt);
    if (lookups <= count) this.#records.remove(slot);
    else if (lookups !== MAX_LOOKUPS) this.#memory.write(lookupsAt, lookups - count);
    this.#memory.unlock();
    this.#fds.closeDiscarded();
  }

  /** Forgets everything but the root. No other thread may be at work. */
  clear(): void {
    this.#records.slots.forEach((slot) => {
      if (slot !== ROOT_SLOT && this.#records.isNode(slot)) this.#records.remove(slot);
    });
    this.#fds.closeDiscarded();
  }

  /** Gives up the fds that this thread keeps; nodes stay. */
  detach(): void {
    this.#memory.lock();
    this.#fds.drain();
    this.#memory.unlock();
    this.#fds.closeDiscarded();
  }

  /** Forgets everything and closes every fd. */
  close(): void {
    this.clear();
    this.#records.remove(ROOT_SLOT);
    this.#fds.closeDiscarded();
  }

  #adopt(
    fd: number,
    stat: StatBuffer,
    link: Link | undefined,
    parent: number,
    name: Uint8Array,
  ): number {
    const memory = this.#memory;
    memory.lock();
    let volume = this.#volumes.find(stat);
    let slot = volume < 0 ? 0 : this.#finder.match(volume, stat, link, undefined);
    if (slot === UNSURE) {
      // The system call is not for the time of the lock. Without a handle nothing will match.
      memory.unlock();
      this.#handle.read(fd);
      memory.lock();
      slot = this.#finder.match(volume, stat, link, this.#handle);
    }
    let result = slot;
    if (slot > 0) {
      this.#found(slot, fd, stat, parent, name);
    } else {
      const isNewVolume = volume < 0;
      if (isNewVolume) {
        memory.unlock();
        volume = this.#volumes.add(fd, stat);
        memory.lock();
        // Another thread may have found the inode as well meanwhile.
        slot =
          volume < 0 || memory.threads === 1
            ? 0
            : this.#finder.match(volume, stat, link, undefined);
      }
      if (slot > 0) {
        this.#found(slot, fd, stat, parent, name);
        result = slot;
      } else {
        result = volume < 0 ? -ENFILE : this.#records.insert(fd, stat, volume, link, parent, name);
        if (result < 0) this.#fds.discard(fd);
      }
      if (isNewVolume && volume >= 0) this.#records.releaseVolume(volume);
    }
    const nodeid = result < 0 ? result : this.#records.nodeidOf(result);
    memory.unlock();
    this.#fds.closeDiscarded();
    return nodeid;
  }

  /** A node that is there was looked up once more. */
  #found(slot: number, fd: number, stat: StatBuffer, parent: number, name: Uint8Array): void {
    this.#records.countLookup(slot);
    const meta = this.#memory.read(this.#memory.recordAt(slot) + record.meta);
    if (kindOf(meta) === NodeKind.named && parent !== 0) {
      this.#names.record(slot, parent, name, [stat.birthSeconds, stat.birthNanoseconds]);
    }
    this.#fds.keep(slot, fd);
  }
}
