/** Handles without O_PATH: opening what can be opened to hold it, and going by names for the rest. */
import {
  EACCES,
  EAGAIN,
  EBADF,
  EBUSY,
  ELOOP,
  ENOENT,
  ENOSYS,
  ENOTDIR,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
  ESTALE,
  ETXTBSY,
  O_ACCMODE,
  O_NONBLOCK,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
  S_IFDIR,
  S_IFREG,
} from "@supermachine/fuse-protocol";
import { O_DIRECTORY } from "../../syscalls/constants.js";
import type { CString } from "../../syscalls/linux.js";
import { statxStruct } from "../../syscalls/structs.js";
import { type Handle, Handles, type Place } from "./handles.js";
import { isIdentityIn, typeIn } from "./inode-identity.js";
import type { PosixCalls } from "./posix-calls.js";

/** How often a name may become something else while it is opened. */
const ATTEMPTS = 4;
const dot = Buffer.from(".\0");

/** What this process may not open, but may know by name. */
const unopenable: ReadonlySet<number> = new Set([-EACCES, -EPERM, -ETXTBSY, -EBUSY, -EAGAIN]);
/** What opening gives when a name is not of the type that it had a moment ago. */
const changed: ReadonlySet<number> = new Set([-ENOTDIR, -ELOOP, -ENXIO]);
/** What opening a file gives when it is not there any more, or cannot be asked for so. */
const elsewhere: ReadonlySet<number> = new Set([...changed, -ENOENT, -ENOSYS, -EOPNOTSUPP]);

/**
 * Directories and regular files are held by an fd, which names cannot be swapped under. Others are never opened: to
 * open a device or a FIFO does something. They are known by the directory that they are in and a name there, and
 * each use compares the inode. No name has more than one component, so none leads out of its directory.
 */
export class Holding {
  readonly #calls: PosixCalls;
  readonly #handles: Handles;
  readonly #statx = new Uint8Array(statxStruct.size);
  readonly #view = new DataView(this.#statx.buffer);

  constructor(calls: PosixCalls) {
    this.#calls = calls;
    this.#handles = new Handles((fd) => calls.close(fd));
  }

  /** Opens a directory by a path of the embedder. */
  openRoot(path: string): number {
    const fd = this.#calls.openDirectory(path);
    return fd < 0 ? fd : this.#hold(fd, fd, undefined);
  }

  /** A handle of `name` below `dir`. */
  open(dir: number, name: CString): number {
    const parent = this.directory(dir);
    if (parent < 0) return parent;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const failure = this.#calls.fstatAt(parent, name, this.#statx);
      if (failure < 0) return failure;
      const type = typeIn(this.#view);
      const fd = canHold(type) ? this.#calls.hold(parent, name, type === S_IFDIR) : -EPERM;
      if (unopenable.has(fd)) return this.#handles.name(this.#view, dir, name).fd;
      if (fd >= 0) {
        const held = this.#hold(fd, dir, name);
        if (held !== -ESTALE) return held;
      } else if (!changed.has(fd)) return fd;
    }
    return -EAGAIN;
  }

  /** A handle of the file that is open as `fd` and was made as `name` below `dir`, or without a name. */
  openMade(fd: number, dir: number, name: CString | undefined): number {
    const copy = this.#calls.duplicate(fd);
    return copy < 0 ? copy : this.#hold(copy, dir, name);
  }

  /** Opens what a handle stands for, to read or to write it. */
  reopen(fd: number, flags: number): number {
    const handle = this.#handles.get(fd);
    if (handle === undefined) return -EBADF;
    const { type } = handle.identity;
    if (type === S_IFDIR) return this.#openListing(handle, flags);
    if ((flags & O_DIRECTORY) !== 0) return -ENOTDIR;
    if (type !== S_IFREG) return -EACCES;
    // To truncate comes after the comparison.
    const how = flags & ~O_TRUNC;
    let opened = handle.isHeld ? this.#compared(handle, this.#calls.openInode(fd, how)) : -ESTALE;
    for (const { directory, name } of handle.places) {
      if (opened >= 0) break;
      const byName = this.#calls.openAt(directory.fd, name, how | O_NONBLOCK, 0);
      opened = this.#compared(handle, byName);
    }
    // Without its name, or under one that is not known: what is held can be read all the same.
    if (opened === -ESTALE && handle.isHeld && (flags & (O_ACCMODE | O_TRUNC)) === O_RDONLY) {
      return this.#calls.duplicate(fd);
    }
    if (opened < 0 || (flags & O_TRUNC) === 0) return opened;
    const failure = this.#truncate(fd, opened, flags & O_ACCMODE);
    if (failure === 0) return opened;
    this.#calls.close(opened);
    return failure;
  }

  /** Empties the file of a handle that is open as `opened`: with O_RDONLY, too, if this process may write to it. */
  #truncate(fd: number, opened: number, access: number): number {
    if (access !== O_RDONLY) return this.#calls.ftruncate(opened, 0);
    const writer = this.reopen(fd, O_WRONLY);
    if (writer < 0) return writer;
    const result = this.#calls.ftruncate(writer, 0);
    this.#calls.close(writer);
    return result;
  }

  close(fd: number): number {
    return this.#handles.release(fd) ? 0 : this.#calls.close(fd);
  }

  /** The fd below which to look names up: -ENOTDIR and -EACCES for handles that have none. */
  directory(fd: number): number {
    const handle = this.#named(fd);
    if (handle === undefined) return fd;
    return handle.identity.type === S_IFDIR ? -EACCES : -ENOTDIR;
  }

  /** Whether a handle is of a directory. */
  isDirectory(fd: number): boolean {
    return this.#handles.get(fd)?.identity.type === S_IFDIR;
  }

  /** Undefined for an fd: what holds its inode. */
  #named(fd: number): Handle | undefined {
    const handle = this.#handles.get(fd);
    return handle?.isHeld === false ? handle : undefined;
  }

  /** Calls `onFd` for what is held, and `onName` for what is known by name once it is found there; or an errno. */
  either(fd: number, onFd: (fd: number) => number, onName: (place: Place) => number): number {
    const handle = this.#named(fd);
    if (handle === undefined) return onFd(fd);
    const place = this.placeOf(fd);
    return typeof place === "number" ? place : onName(place);
  }

  /** Where the inode of a handle is now, compared; or -ESTALE when that is not known. */
  placeOf(fd: number): Place | number {
    const handle = this.#handles.get(fd);
    if (handle === undefined) return -EBADF;
    const found = handle.places.find(({ directory, name }) => {
      const failure = this.#calls.fstatAt(directory.fd, name, this.#statx);
      return failure === 0 && isIdentityIn(this.#view, handle.identity);
    });
    return found ?? -ESTALE;
  }

  /** As fstat(2), of a handle. */
  stat(fd: number, out: Uint8Array): number {
    const handle = this.#named(fd);
    if (handle === undefined) return this.#calls.fstat(fd, out);
    const place = this.placeOf(fd);
    if (typeof place === "number") return place;
    out.set(this.#statx);
    return 0;
  }

  /** `name` below `dir` was found to be the inode with these attributes. */
  note(statx: Uint8Array, dir: number, name: CString): void {
    this.#handles.note(new DataView(statx.buffer, statx.byteOffset, statx.length), dir, name);
  }

  /** Has a handle of what is `name` below `dir` now, if there is one, know that. */
  find(dir: number, name: CString): void {
    if (this.#calls.fstatAt(dir, name, this.#statx) === 0)
      this.#handles.note(this.#view, dir, name);
  }

  /**
   * Whether a handle surely stands for the inode with these attributes, which has the same number. What is held
   * keeps its number; that of another may have gone to a new file.
   */
  isSame(fd: number, statx: Uint8Array): boolean {
    const handle = this.#named(fd);
    if (handle === undefined) return true;
    return isIdentityIn(new DataView(statx.buffer, statx.byteOffset), handle.identity);
  }

  /** Takes over `fd`, which holds a regular file or a directory, or else gives ESTALE. */
  #hold(fd: number, dir: number, name: CString | undefined): number {
    const failure = this.#calls.fstat(fd, this.#statx);
    if (failure === 0 && canHold(typeIn(this.#view))) {
      return this.#handles.hold(fd, this.#view, dir, name).fd;
    }
    this.#calls.close(fd);
    return failure < 0 ? failure : -ESTALE;
  }

  #openListing(handle: Handle, flags: number): number {
    if (!handle.isHeld) return -EACCES;
    const listing = this.#calls.openAt(handle.fd, dot, flags | O_DIRECTORY, 0);
    if (listing >= 0) this.#handles.addListing(listing, handle.fd);
    return listing;
  }

  /** `opened`, if it is of the inode of the handle; else an errno, with it closed. */
  #compared(handle: Handle, opened: number): number {
    if (opened < 0) return elsewhere.has(opened) ? -ESTALE : opened;
    const isSame =
      this.#calls.fstat(opened, this.#statx) === 0 && isIdentityIn(this.#view, handle.identity);
    if (isSame) return opened;
    this.#calls.close(opened);
    return -ESTALE;
  }
}

function canHold(type: number): boolean {
  return type === S_IFREG || type === S_IFDIR;
}
