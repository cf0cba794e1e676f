import {
  FUSE_CREATE,
  FUSE_LINK,
  FUSE_LOOKUP,
  FUSE_MKDIR,
  FUSE_MKNOD,
  FUSE_OPEN,
  FUSE_OPENDIR,
  FUSE_READDIRPLUS,
  FUSE_RELEASE,
  FUSE_RELEASEDIR,
  FUSE_SYMLINK,
  FUSE_TMPFILE,
} from "@supermachine/fuse-protocol";
import type { FsBackend } from "./backend.js";
import type { RequestSlot } from "./slot.js";

interface OpenHandle {
  readonly nodeid: number;
  readonly fh: number;
  readonly isDirectory: boolean;
  count: number;
}

/**
 * What one client of a shared backend holds: the deliveries to forget and the handles to release when
 * it leaves, which a backend of its own would do in `destroy`.
 */
export class ClientLedger {
  readonly #lookups = new Map<number, number>();
  readonly #handles = new Map<string, OpenHandle>();
  readonly #maxNodes: number;
  readonly #maxHandles: number;

  /** @param limits - How many nodes and open handles the client may hold. Default: as many as it likes. */
  constructor({ maxNodes, maxHandles }: { maxNodes?: number; maxHandles?: number } = {}) {
    this.#maxNodes = maxNodes ?? Number.POSITIVE_INFINITY;
    this.#maxHandles = maxHandles ?? Number.POSITIVE_INFINITY;
  }

  /**
   * Whether a request may give the client more than it may hold. Those that it already has count as new:
   * what a lookup will find is not known before. A READDIRPLUS may go beyond by what its reply holds.
   */
  exceeds(opcode: number): boolean {
    switch (opcode) {
      case FUSE_LOOKUP:
      case FUSE_SYMLINK:
      case FUSE_MKNOD:
      case FUSE_MKDIR:
      case FUSE_READDIRPLUS:
        return this.#lookups.size >= this.#maxNodes;
      case FUSE_CREATE:
      case FUSE_TMPFILE:
        return this.#lookups.size >= this.#maxNodes || this.#handles.size >= this.#maxHandles;
      case FUSE_OPEN:
      case FUSE_OPENDIR:
        return this.#handles.size >= this.#maxHandles;
      default:
        return false;
    }
  }

  /** Notes what a successful operation gave or took. */
  record(slot: RequestSlot): void {
    switch (slot.opcode) {
      case FUSE_LOOKUP:
      case FUSE_SYMLINK:
      case FUSE_MKNOD:
      case FUSE_MKDIR:
      case FUSE_LINK:
        this.#delivered(slot.entry.nodeid);
        break;
      case FUSE_CREATE:
      case FUSE_TMPFILE:
        this.#delivered(slot.entry.nodeid);
        this.#opened(slot.entry.nodeid, slot.open.fh, false);
        break;
      case FUSE_READDIRPLUS:
        for (const nodeid of slot.direntsPlus.delivered) this.#delivered(nodeid);
        break;
      case FUSE_OPEN:
      case FUSE_OPENDIR:
        this.#opened(slot.nodeid, slot.open.fh, slot.opcode === FUSE_OPENDIR);
        break;
      case FUSE_RELEASE:
      case FUSE_RELEASEDIR:
        this.#released(slot.nodeid, slot.releasedHandle(), slot.opcode === FUSE_RELEASEDIR);
        break;
    }
  }

  #delivered(nodeid: number): void {
    if (nodeid !== 0) this.#lookups.set(nodeid, (this.#lookups.get(nodeid) ?? 0) + 1);
  }

  #opened(nodeid: number, fh: number, isDirectory: boolean): void {
    const key = `${nodeid} ${fh} ${isDirectory}`;
    const handle = this.#handles.get(key);
    if (handle === undefined) this.#handles.set(key, { nodeid, fh, isDirectory, count: 1 });
    else handle.count++;
  }

  #released(nodeid: number, fh: number, isDirectory: boolean): void {
    const key = `${nodeid} ${fh} ${isDirectory}`;
    const handle = this.#handles.get(key);
    if (handle === undefined) return;
    handle.count--;
    if (handle.count === 0) this.#handles.delete(key);
  }

  /** How many of `count` the client can forget: no more than it was given. */
  forget(nodeid: number, count: number): number {
    const held = this.#lookups.get(nodeid) ?? 0;
    const taken = Math.min(count, held);
    if (taken === held) this.#lookups.delete(nodeid);
    else this.#lookups.set(nodeid, held - taken);
    return taken;
  }

  /** Gives everything back. `slot` stands for the request that each release needs. */
  settle(slot: RequestSlot, backend: FsBackend): void {
    for (const { nodeid, fh, isDirectory, count } of this.#handles.values()) {
      for (let i = 0; i < count; i++) {
        const result = isDirectory
          ? backend.releasedir?.(slot, nodeid, fh, 0)
          : backend.release?.(slot, nodeid, fh, 0, 0);
        // As for the kernel: the result of a release matters to nobody.
        if (typeof result === "object") result.catch(() => {});
      }
    }
    for (const [nodeid, count] of this.#lookups) backend.forget?.(nodeid, count);
    this.clear();
  }

  /** The client holds nothing any more. */
  clear(): void {
    this.#handles.clear();
    this.#lookups.clear();
  }
}
