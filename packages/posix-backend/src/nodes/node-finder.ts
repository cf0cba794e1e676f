import { S_IFMT } from "@supermachine/fuse-protocol";
import type { FileHandle } from "./file-handle.js";
import type { IdentityIndex } from "./identity-index.js";
import { type NodeMemory, record } from "./node-memory.js";
import { kindOf, NodeKind, typeOf, volumeOf } from "./node-record.js";
import type { RecordedNames } from "./recorded-names.js";
import type { StatBuffer } from "./stat-buffer.js";

/** A symbolic link, as the table tells links apart that lead to one directory. */
export interface Link {
  readonly volume: number;
  readonly inoLow: number;
  readonly inoHigh: number;
}

/** What {@link NodeFinder.match} answers when a file handle must be compared and is not known. */
export const UNSURE = -1;

/** Tells which node an inode is. Call it under the lock. */
export class NodeFinder {
  readonly #memory: NodeMemory;
  readonly #index: IdentityIndex;
  readonly #names: RecordedNames;

  constructor(memory: NodeMemory, index: IdentityIndex, names: RecordedNames) {
    this.#memory = memory;
    this.#index = index;
    this.#names = names;
  }

  /**
   * The node of an inode, 0 for none, or {@link UNSURE} when its file handle must be compared and is not
   * known. What has an fd somewhere is that inode: its number cannot have gone to another.
   */
  match(
    volume: number,
    stat: StatBuffer,
    link: Link | undefined,
    handle: FileHandle | undefined,
  ): number {
    const memory = this.#memory;
    const { inoLow, inoHigh } = stat;
    let slot = this.#index.first(volume, inoLow, inoHigh);
    for (; slot !== 0; slot = this.#index.next(slot)) {
      const at = memory.recordAt(slot);
      if (memory.read(at + record.inoLow) !== inoLow) continue;
      if (memory.read(at + record.inoHigh) !== inoHigh) continue;
      const meta = memory.read(at + record.meta);
      if (volumeOf(meta) !== volume) continue;
      const kind = kindOf(meta);
      if (kind === NodeKind.alias || link !== undefined) {
        if (kind === NodeKind.alias && link !== undefined && this.#isLink(at, link)) return slot;
        continue;
      }
      if (kind === NodeKind.named) {
        const isBorn = this.#names.bornAt(slot, [stat.birthSeconds, stat.birthNanoseconds]);
        if (isBorn && typeOf(meta) === (stat.mode & S_IFMT)) return slot;
      } else if (kind === NodeKind.pinned) {
        if (stat.isInodeOf(memory.read(at + record.fd))) return slot;
      } else if (memory.read(at + record.cachedBy) !== 0) return slot;
      else if (handle === undefined) return UNSURE;
      else if (handle.equals(memory, at)) return slot;
    }
    return 0;
  }

  /** A node with this inode number, whatever its generation; 0 for none. */
  firstWithNumber(volume: number, inoLow: number, inoHigh: number): number {
    let slot = this.#index.first(volume, inoLow, inoHigh);
    for (; slot !== 0; slot = this.#index.next(slot)) {
      const at = this.#memory.recordAt(slot);
      const meta = this.#memory.read(at + record.meta);
      if (
        this.#memory.read(at + record.inoLow) === inoLow &&
        this.#memory.read(at + record.inoHigh) === inoHigh &&
        volumeOf(meta) === volume &&
        kindOf(meta) !== NodeKind.alias
      ) {
        return slot;
      }
    }
    return 0;
  }

  #isLink(at: number, link: Link): boolean {
    const payload = at + record.payload;
    return (
      this.#memory.read(payload) === link.volume >>> 0 &&
      this.#memory.read(payload + 1) === link.inoLow &&
      this.#memory.read(payload + 2) === link.inoHigh
    );
  }
}
