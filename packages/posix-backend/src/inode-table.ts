import { ENFILE, ESTALE, S_IFMT } from "@supermachine/fuse-protocol";
import type { StatBuffer } from "./stat-buffer.js";
import { close } from "./syscalls/linux.js";

export const ROOT_NODEID = 1;

type InodeKey = number | bigint | string;

/** A mounted file system: the scope in which inode numbers are unique. */
interface Volume {
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly mountId: number;
  readonly inodes: Map<InodeKey, Inode>;
}

/** An inode of the host that the guest knows. Its type never changes: `fd` holds the inode itself. */
interface Inode {
  /** Ours, counted up and never used twice, so its generation is always 0. */
  readonly nodeid: number;
  /** An O_PATH handle, closed when the inode is forgotten. */
  readonly fd: number;
  /** The `S_IFMT` bits of the mode. */
  readonly type: number;
  /** How often the guest was given this node and has not taken it back. */
  lookups: number;
  /** Where the table finds this inode again, and under which key. */
  readonly home: Map<InodeKey, Inode>;
  readonly key: InodeKey;
}

/**
 * The nodes that the guest knows. Host inodes are told apart by device, inode number and mount, so that
 * hard links share a node; while a node holds its fd the host cannot give its inode number to another
 * file.
 */
export class InodeTable {
  readonly #root: Inode;
  readonly #capacity: number;
  readonly #byNodeid = new Map<number, Inode>();
  #volumes: Volume[] = [];
  readonly #aliases = new Map<InodeKey, Inode>();
  #nextNodeid = ROOT_NODEID;

  /** Takes over `rootFd`; `stat` holds its attributes. */
  constructor(capacity: number, rootFd: number, stat: StatBuffer) {
    this.#capacity = capacity;
    const volume = this.#volumeOf(stat);
    this.#root = this.#insert(rootFd, stat, volume.inodes, stat.inoKey);
  }

  get size(): number {
    return this.#byNodeid.size;
  }

  get full(): boolean {
    return this.#byNodeid.size >= this.#capacity;
  }

  /** An O_PATH handle of the root. */
  get rootFd(): number {
    return this.#root.fd;
  }

  /**
   * An O_PATH handle of a node's inode, which stays the table's; or a negated errno, ESTALE for a node
   * that the client does not hold. It is good for the present operation, not longer.
   */
  fd(nodeid: number): number {
    return this.#byNodeid.get(nodeid)?.fd ?? -ESTALE;
  }

  /** The `S_IFMT` bits of a node's mode, which never change; 0 for a node that the client does not hold. */
  type(nodeid: number): number {
    return this.#byNodeid.get(nodeid)?.type ?? 0;
  }

  /** The node of the inode whose attributes `stat` holds, if the client holds it. */
  find(stat: StatBuffer): number | undefined {
    return this.#volumeOf(stat).inodes.get(stat.inoKey)?.nodeid;
  }

  /** Every node that the client holds, the root included. */
  nodeids(): Iterable<number> {
    return this.#byNodeid.keys();
  }

  /** Counts one more lookup of a node that the client holds; the nodeid, or a negated errno. */
  addLookup(nodeid: number): number {
    const inode = this.#byNodeid.get(nodeid);
    if (inode === undefined) return -ESTALE;
    inode.lookups++;
    return nodeid;
  }

  /**
   * Counts one more lookup of the inode that the O_PATH handle `fd` holds, and takes over `fd`. `stat`
   * holds its attributes. Returns the nodeid; or a negated errno, with `fd` closed, when the table is full.
   */
  adopt(fd: number, stat: StatBuffer): number {
    return this.#count(fd, stat, this.#volumeOf(stat).inodes, stat.inoKey);
  }

  /**
   * As {@link adopt}, for a directory that is reached through the followed symbolic link `link`. A
   * Linux client may hold a directory under one name only, so each link's view of it is its own node.
   */
  adoptAlias(fd: number, stat: StatBuffer, link: string): number {
    const key = `${link}>${stat.deviceMajor}:${stat.deviceMinor}:${stat.mountId}:${stat.inoKey}`;
    return this.#count(fd, stat, this.#aliases, key);
  }

  /** What {@link adoptAlias} knows a symbolic link by; `stat` holds its attributes. */
  linkOf(stat: StatBuffer): string {
    return `${stat.deviceMajor}:${stat.deviceMinor}:${stat.mountId}:${stat.inoKey}`;
  }

  /** Takes back `count` lookups; the root stays whatever a client says. */
  forget(nodeid: number, count: number): void {
    const inode = this.#byNodeid.get(nodeid);
    if (inode === undefined || inode === this.#root) return;
    inode.lookups -= count;
    if (inode.lookups <= 0) this.#remove(inode);
  }

  /** Forgets everything but the root. */
  clear(): void {
    for (const inode of this.#byNodeid.values()) if (inode !== this.#root) this.#remove(inode);
  }

  close(): void {
    this.clear();
    this.#remove(this.#root);
  }

  #count(fd: number, stat: StatBuffer, home: Map<InodeKey, Inode>, key: InodeKey): number {
    const known = home.get(key);
    if (known !== undefined) {
      close(fd);
      known.lookups++;
      return known.nodeid;
    }
    if (this.full) {
      close(fd);
      return -ENFILE;
    }
    return this.#insert(fd, stat, home, key).nodeid;
  }

  #insert(fd: number, stat: StatBuffer, home: Map<InodeKey, Inode>, key: InodeKey): Inode {
    const inode: Inode = {
      nodeid: this.#nextNodeid++,
      fd,
      type: stat.mode & S_IFMT,
      lookups: 1,
      home,
      key,
    };
    this.#byNodeid.set(inode.nodeid, inode);
    home.set(key, inode);
    return inode;
  }

  #remove(inode: Inode): void {
    this.#byNodeid.delete(inode.nodeid);
    inode.home.delete(inode.key);
    close(inode.fd);
  }

  #volumeOf(stat: StatBuffer): Volume {
    const { deviceMajor, deviceMinor, mountId } = stat;
    for (const volume of this.#volumes) {
      if (
        volume.mountId === mountId &&
        volume.deviceMinor === deviceMinor &&
        volume.deviceMajor === deviceMajor
      ) {
        return volume;
      }
    }
    const volume: Volume = { deviceMajor, deviceMinor, mountId, inodes: new Map() };
    // Volumes that hold nothing may be unmounted by now: they are dropped when another one appears.
    this.#volumes = [...this.#volumes.filter((other) => other.inodes.size > 0), volume];
    return volume;
  }
}
