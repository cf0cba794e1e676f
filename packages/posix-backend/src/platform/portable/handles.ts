import { S_IFDIR } from "@supermachine/fuse-protocol";
import type { CString } from "../../syscalls/linux.js";
import {
  type InodeIdentity,
  identityIn,
  inodeKeyIn,
  inodeKeyOf,
  isIdentityIn,
  linksIn,
} from "./inode-identity.js";

/** Of a file with several names, as many are remembered. */
const MAX_PLACES = 4;
/** Handles from here on are no fds: what they stand for cannot be opened, and is known by name alone. */
const FIRST_NAMED = 2 ** 30;

/** An open directory, which lives while there is a handle of it or one of a name in it. */
interface Directory {
  readonly fd: number;
  users: number;
}

/** A name in an open directory. */
export interface Place {
  readonly directory: Directory;
  /** Ended with a NUL. */
  readonly name: CString;
}

/** Stands for an inode, as an O_PATH fd of Linux does. */
export interface Handle {
  /** An fd that holds the inode, unless {@link isHeld} is false. */
  readonly fd: number;
  readonly isHeld: boolean;
  readonly identity: InodeIdentity;
  /** Where it was seen, the last time first; nowhere when it never had a name here. */
  readonly places: readonly Place[];
}

interface Entry extends Handle {
  readonly places: Place[];
  /** Another handle with the same key. */
  next: Entry | undefined;
}

/**
 * The handles of this process, and the names under which their inodes were last seen. A name is only a hint: whoever
 * goes by one compares the inode that is there.
 */
export class Handles {
  readonly #close: (fd: number) => void;
  readonly #entries = new Map<number, Entry>();
  readonly #byInode = new Map<number, Entry>();
  /** By the fds of handles, and of listings. */
  readonly #directories = new Map<number, Directory>();
  #nextNamed = FIRST_NAMED;

  /** @param close - Closes an fd that was given to {@link hold}. */
  constructor(close: (fd: number) => void) {
    this.#close = close;
  }

  get(fd: number): Handle | undefined {
    return this.#entries.get(fd);
  }

  /** The handle of an inode that `fd` holds, and takes over `fd`. @param statx - Its attributes. */
  hold(fd: number, statx: DataView, dir: number, name: CString | undefined): Handle {
    const handle = this.#add(fd, true, statx, dir, name);
    if (handle.identity.type === S_IFDIR) this.#directories.set(fd, { fd, users: 1 });
    return handle;
  }

  /** A handle of an inode that cannot be held open. */
  name(statx: DataView, dir: number, name: CString): Handle {
    return this.#add(this.#nextNamed++, false, statx, dir, name);
  }

  /** `listing` reads the directory that `fd` is a handle of: names can be looked up by it, too. */
  addListing(listing: number, fd: number): void {
    const directory = this.#directories.get(fd);
    if (directory === undefined) return;
    directory.users++;
    this.#directories.set(listing, directory);
  }

  /** The inode is `name` in `dir` now, if there is a handle of it. */
  note(statx: DataView, dir: number, name: CString): void {
    let entry = this.#byInode.get(inodeKeyIn(statx));
    for (; entry !== undefined; entry = entry.next) {
      if (!isIdentityIn(statx, entry.identity)) continue;
      this.#place(entry, dir, name, Math.min(linksIn(statx), MAX_PLACES));
    }
  }

  /** False for an fd that is no handle, which is left open. */
  release(fd: number): boolean {
    const entry = this.#entries.get(fd);
    const directory = this.#directories.get(fd);
    this.#directories.delete(fd);
    if (entry === undefined) {
      if (directory !== undefined) this.#leave(directory);
      return false;
    }
    this.#entries.delete(fd);
    this.#unlink(entry);
    for (const place of entry.places) this.#leave(place.directory);
    if (directory !== undefined) this.#leave(directory);
    else if (entry.isHeld) this.#close(fd);
    return true;
  }

  #add(
    fd: number,
    isHeld: boolean,
    statx: DataView,
    dir: number,
    name: CString | undefined,
  ): Handle {
    const identity = identityIn(statx);
    const key = inodeKeyOf(identity);
    const next = this.#byInode.get(key);
    const entry: Entry = { fd, isHeld, identity, places: [], next };
    this.#entries.set(fd, entry);
    this.#byInode.set(key, entry);
    if (name !== undefined) this.note(statx, dir, name);
    return entry;
  }

  #place(entry: Entry, dir: number, name: CString, room: number): void {
    const directory = this.#directories.get(dir);
    if (directory === undefined) return;
    const length = name.indexOf(0) + 1;
    const { places } = entry;
    const known = places.findIndex(
      (place) =>
        place.directory === directory &&
        place.name.length === length &&
        place.name.every((byte, i) => byte === name[i]),
    );
    if (known === 0) return;
    directory.users++;
    places.unshift({ directory, name: Uint8Array.from(name.subarray(0, length)) });
    const superfluous = known > 0 ? places.splice(known + 1, 1) : places.splice(Math.max(room, 1));
    for (const place of superfluous) this.#leave(place.directory);
  }

  #unlink(entry: Entry): void {
    const key = inodeKeyOf(entry.identity);
    let before = this.#byInode.get(key);
    if (before === entry) {
      if (entry.next === undefined) this.#byInode.delete(key);
      else this.#byInode.set(key, entry.next);
      return;
    }
    while (before !== undefined && before.next !== entry) before = before.next;
    if (before !== undefined) before.next = entry.next;
  }

  #leave(directory: Directory): void {
    directory.users--;
    if (directory.users === 0) this.#close(directory.fd);
  }
}
