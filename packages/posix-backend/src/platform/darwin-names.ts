/** Names, and opening them, on macOS: see `darwin.ts`. */

import {
  EACCES,
  EINVAL,
  EOPNOTSUPP,
  O_CREAT,
  O_EXCL,
  O_WRONLY,
  S_IFIFO,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from "@supermachine/fuse-protocol";
import type { CString } from "../syscalls/linux.js";
import {
  darwinOpenFlags,
  darwinRenameFlags,
  darwinSocketAddress,
  darwinWhence,
} from "./darwin-abi.js";
import * as darwin from "./darwin-constants.js";
import { DarwinListing } from "./darwin-listing.js";
import { inodePath, native, outcome, type Path } from "./darwin-native.js";

function open(dir: number, path: Path, how: number, mode = 0): number {
  return outcome(native.openat(dir, path, how | darwin.O_CLOEXEC, "int", mode));
}

export function openDirectory(path: string): number {
  return open(darwin.AT_FDCWD, path, darwin.O_DIRECTORY);
}

/** darwin.O_EVTONLY lets the volume be unmounted; it takes the permission to read all the same. */
export function hold(dir: number, name: CString, isDirectory: boolean): number {
  if (!isDirectory)
    return open(
      dir,
      name,
      darwin.O_EVTONLY | darwin.O_NONBLOCK | darwin.O_NOCTTY | darwin.O_NOFOLLOW,
    );
  const fd = open(dir, name, darwin.O_EVTONLY | darwin.O_DIRECTORY | darwin.O_NOFOLLOW);
  return fd === -EACCES ? open(dir, name, darwin.O_SEARCH | darwin.O_NOFOLLOW) : fd;
}

export function openAt(dir: number, name: CString, flags: number, mode: number): number {
  return open(dir, name, darwinOpenFlags(flags) | darwin.O_NOFOLLOW, mode);
}

/**
 * By `/.vol/DEVICE/INODE`, the kernel's own path of an inode, which no rename can turn into that of another. Volumes
 * without such paths have none, or answer with something else: whoever calls compares.
 */
export function openInode(fd: number, flags: number): number {
  const path = inodePath(fd);
  if (typeof path === "number") return path;
  return open(
    darwin.AT_FDCWD,
    path,
    darwinOpenFlags(flags) | darwin.O_NOFOLLOW_ANY | darwin.O_NONBLOCK,
  );
}

export function close(fd: number): number {
  listings.delete(fd);
  return outcome(native.close(fd));
}

/** `out` has room for PATH_MAX of macOS, 1024. */
export function pathOf(fd: number, out: Uint8Array): number {
  const failure = outcome(native.fcntl(fd, darwin.F_GETPATH, "void *", out));
  return failure < 0 ? failure : out.indexOf(0);
}

export function makeDirectoryAt(dir: number, name: CString, mode: number): number {
  return outcome(native.mkdirat(dir, name, mode));
}

/** Regular files, FIFOs and sockets; devices, whiteouts included, are not made on macOS. */
export function makeNodeAt(dir: number, name: CString, mode: number, _device: number): number {
  const permissions = mode & ~S_IFMT;
  const type = mode & S_IFMT;
  if (type === S_IFIFO) return outcome(native.mkfifoat(dir, name, permissions));
  if (type === S_IFSOCK) return makeSocketAt(dir, name, permissions);
  if (type !== S_IFREG) return -EOPNOTSUPP;
  const fd = openAt(dir, name, O_WRONLY | O_CREAT | O_EXCL, permissions);
  return fd < 0 ? fd : close(fd);
}

/** bind(2) makes sockets, by a path: one from the directory that this thread alone is in meanwhile. */
function makeSocketAt(dir: number, name: CString, mode: number): number {
  const address = darwinSocketAddress(name);
  if (address === undefined) return -EINVAL;
  const socket = outcome(native.socket(darwin.AF_UNIX, darwin.SOCK_STREAM, 0));
  if (socket < 0) return socket;
  let result = outcome(native.fchdirOfThread(dir));
  if (result === 0) {
    result = outcome(native.bind(socket, address, address.length));
    native.fchdirOfThread(-1);
  }
  native.close(socket);
  return result < 0
    ? result
    : outcome(native.fchmodat(dir, name, mode, darwin.AT_SYMLINK_NOFOLLOW));
}

export function symlinkAt(target: CString, dir: number, name: CString): number {
  return outcome(native.symlinkat(target, dir, name));
}

export function readlinkAt(dir: number, name: CString, out: Uint8Array): number {
  return outcome(native.readlinkat(dir, name, out, out.length));
}

/** link(2) would link what a symbolic link leads to; linkat(2) without AT_SYMLINK_FOLLOW links itself. */
export function linkAt(oldDir: number, oldName: CString, dir: number, name: CString): number {
  return outcome(native.linkat(oldDir, oldName, dir, name, 0));
}

export function unlinkAt(dir: number, name: CString): number {
  return outcome(native.unlinkat(dir, name, 0));
}

export function rmdirAt(dir: number, name: CString): number {
  return outcome(native.unlinkat(dir, name, darwin.AT_REMOVEDIR));
}

export function renameAt(
  oldDir: number,
  oldName: CString,
  newDir: number,
  newName: CString,
  flags: number,
): number {
  const how = darwinRenameFlags(flags);
  if (how === undefined) return -EINVAL;
  return outcome(native.renameatx(oldDir, oldName, newDir, newName, how));
}

const listings = new Map<number, DarwinListing>();

/** Everything that a directory lists now, or a negated errno. */
function readListing(fd: number): DarwinListing | number {
  const base = new BigInt64Array(1);
  const listing = new DarwinListing();
  const rewound = outcome(Number(native.lseek(fd, 0, 0)));
  if (rewound < 0) return rewound;
  for (;;) {
    const length = outcome(native.getdirentries(fd, listingBytes, listingBytes.length, base));
    if (length <= 0) return length < 0 ? length : listing;
    listing.append(listingBytes.subarray(0, length));
  }
}

const listingBytes = new Uint8Array(65_536);

export function getdents64(fd: number, out: Uint8Array): number {
  const listing = listings.get(fd) ?? readListing(fd);
  if (typeof listing === "number") return listing;
  listings.set(fd, listing);
  return listing.read(out);
}

/** In a directory, to a position that its listing gave; 0 starts a new one. */
export function lseek(fd: number, offset: number | bigint, whence: number): number {
  const listing = listings.get(fd);
  if (listing === undefined) return outcome(Number(native.lseek(fd, offset, darwinWhence(whence))));
  if (Number(offset) === 0) listings.delete(fd);
  else listing.seek(Number(offset));
  return Number(offset);
}
