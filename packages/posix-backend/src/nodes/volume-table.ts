import { S_IFDIR, S_IFMT, S_IFREG } from "@supermachine/fuse-protocol";
import { close, reopen } from "../platform/host.js";
import { O_DIRECTORY } from "../syscalls/constants.js";
import { FileHandle } from "./file-handle.js";
import { MAX_VOLUMES, type NodeMemory, volume } from "./node-memory.js";
import type { StatBuffer } from "./stat-buffer.js";

/**
 * The mounted file systems that nodes are on. Inode numbers are unique in each; a mount by its own id, so that
 * two bind mounts of a directory stay two directories. A volume lives while there is a node on it: then
 * the host can unmount it.
 */
export class VolumeTable {
  readonly #memory: NodeMemory;
  readonly #procFd: number;
  readonly #useHandles: boolean;
  #last = 0;

  constructor(memory: NodeMemory, procFd: number, useHandles: boolean) {
    this.#memory = memory;
    this.#procFd = procFd;
    this.#useHandles = useHandles;
  }

  /** The volume that an inode with these attributes is on; -1 when no node is on it yet. */
  find(stat: StatBuffer): number {
    if (this.#matches(this.#last, stat)) return this.#last;
    for (let index = 0; index < MAX_VOLUMES; index++) {
      if (this.#matches(index, stat)) {
        this.#last = index;
        return index;
      }
    }
    return -1;
  }

  /** Adds the volume of the inode that `fd` holds; -1 when there are too many. Call it without the lock. */
  add(fd: number, stat: StatBuffer): number {
    const mountFd = this.#useHandles ? openMount(this.#procFd, fd, stat.mode) : -1;
    const memory = this.#memory;
    memory.lock();
    let index = this.find(stat);
    if (index < 0) {
      index = this.#firstFree();
      if (index >= 0) {
        const at = memory.volumeAt(index);
        memory.write(at + volume.deviceMajor, stat.deviceMajor);
        memory.write(at + volume.deviceMinor, stat.deviceMinor);
        memory.write(at + volume.mountIdLow, stat.mountId >>> 0);
        memory.write(at + volume.mountIdHigh, Math.floor(stat.mountId / 0x1_0000_0000));
        memory.write(at + volume.mountFd, mountFd + 1);
        // Held until the caller has put a node on it.
        memory.write(at + volume.nodes, 1);
        memory.unlock();
        return index;
      }
    } else {
      memory.add(memory.volumeAt(index) + volume.nodes, 1);
    }
    memory.unlock();
    if (mountFd >= 0) close(mountFd);
    return index;
  }

  /** How many volumes there are. */
  get count(): number {
    let count = 0;
    for (let index = 0; index < MAX_VOLUMES; index++) {
      if (this.#memory.read(this.#memory.volumeAt(index) + volume.nodes) > 0) count++;
    }
    return count;
  }

  /** The fd beneath which file handles of the volume are opened; -1 where they cannot be. */
  mountFd(index: number): number {
    return this.#memory.read(this.#memory.volumeAt(index) + volume.mountFd) - 1;
  }

  /** A node was put on the volume. Under the lock. */
  retain(index: number): void {
    this.#memory.add(this.#memory.volumeAt(index) + volume.nodes, 1);
  }

  /** A node is gone from it. Under the lock; the caller closes the fd that is returned, unless that is -1. */
  release(index: number): number {
    const memory = this.#memory;
    const at = memory.volumeAt(index);
    memory.add(at + volume.nodes, -1);
    if (memory.read(at + volume.nodes) > 0) return -1;
    const mountFd = memory.read(at + volume.mountFd) - 1;
    memory.write(at + volume.mountFd, 0);
    return mountFd;
  }

  #matches(index: number, stat: StatBuffer): boolean {
    const memory = this.#memory;
    const at = memory.volumeAt(index);
    const { mountId } = stat;
    return (
      memory.read(at + volume.nodes) > 0 &&
      memory.read(at + volume.deviceMinor) === stat.deviceMinor &&
      memory.read(at + volume.deviceMajor) === stat.deviceMajor &&
      memory.read(at + volume.mountIdLow) === mountId >>> 0 &&
      memory.read(at + volume.mountIdHigh) === Math.floor(mountId / 0x1_0000_0000)
    );
  }

  #firstFree(): number {
    for (let index = 0; index < MAX_VOLUMES; index++) {
      if (this.#memory.read(this.#memory.volumeAt(index) + volume.nodes) === 0) return index;
    }
    return -1;
  }
}

/**
 * An fd on the mount of what `fd` holds, for open_by_handle_at(2), which takes no O_PATH fd; -1 where the
 * file system has no file handles, or this process may not open them.
 */
export function openMount(procFd: number, fd: number, mode: number): number {
  const handle = new FileHandle();
  const type = mode & S_IFMT;
  // What is mounted is a directory, or a regular file; anything else must not be opened.
  if (handle.read(fd) < 0 || (type !== S_IFDIR && type !== S_IFREG)) return -1;
  const mountFd = reopen(procFd, fd, type === S_IFDIR ? O_DIRECTORY : 0);
  if (mountFd < 0) return -1;
  const again = handle.open(mountFd);
  close(again < 0 ? mountFd : again);
  return again < 0 ? -1 : mountFd;
}
