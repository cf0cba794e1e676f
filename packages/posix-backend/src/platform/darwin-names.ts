/** Handles, names and listings on macOS: see `darwin.ts`. */
import { constants } from "node:fs";
import { ENOSYS, EOPNOTSUPP, ESTALE, S_IFIFO, S_IFMT, S_IFREG } from "@supermachine/fuse-protocol";
import type { CString } from "../syscalls/linux.js";
import { darwinOpenFlags, darwinRenameFlags, darwinWhence } from "./darwin-abi.js";
import { DarwinListing } from "./darwin-listing.js";
import { AT_FDCWD, inodePath, native, outcome, type Path } from "./darwin-native.js";

const AT_REMOVEDIR = 0x80;
const O_NOFOLLOW = 0x100;
const O_EVTONLY = 0x8000;
const O_SYMLINK = 0x20_0000;
const O_CLOEXEC = 0x100_0000;

/** Bits of the open flags that this package uses and Linux has alone. */
const LINUX_O_PATH = 0o10000000;
const LINUX_TMPFILE = 0o20000000;

function open(dir: number, path: Path, flags: number, mode: number): number {
  if ((flags & LINUX_TMPFILE) !== 0) return -EOPNOTSUPP;
  const isHandle = (flags & LINUX_O_PATH) !== 0;
  const how = isHandle ? O_EVTONLY | O_SYMLINK : darwinOpenFlags(flags) | O_NOFOLLOW;
  const directory = flags & constants.O_DIRECTORY;
  return outcome(native.openat(dir, path, how | directory | O_CLOEXEC, "int", mode));
}

export function openPath(path: string, flags: number): number {
  const directory = flags & constants.O_DIRECTORY;
  return outcome(native.openat(AT_FDCWD, path, O_EVTONLY | directory | O_CLOEXEC, "int", 0));
}

export function openAt(dir: number, name: Path, flags: number, mode = 0): number {
  return open(dir, name, flags, mode);
}

/** Verified: volumes without inode paths may answer with something else. */
export function reopen(_procFd: number, fd: number, flags: number): number {
  const path = inodePath(fd);
  if (typeof path === "number") return path;
  const opened = open(AT_FDCWD, path, flags, 0);
  if (opened < 0) return opened;
  if (inodePath(opened) === path) return opened;
  close(opened);
  return -ESTALE;
}

/** There is no RESOLVE_BENEATH: the policy `follow` shows links as links. */
export function resolveAt(_dir: number, _path: CString, _resolve: number): number {
  return -ENOSYS;
}

export function readMagicLink(_procFd: number, _fd: number, _out: Uint8Array): number {
  return -ENOSYS;
}

export function close(fd: number): number {
  listings.delete(fd);
  return outcome(native.close(fd));
}

export function mkdirAt(dir: number, name: CString, mode: number): number {
  return outcome(native.mkdirat(dir, name, mode));
}

/** Regular files and FIFOs; sockets are made by bind(2) only, and devices are refused anyway. */
export function mknodAt(dir: number, name: CString, mode: number, _device: number): number {
  const permissions = mode & ~S_IFMT;
  if ((mode & S_IFMT) === S_IFIFO) return outcome(native.mkfifoat(dir, name, permissions));
  if ((mode & S_IFMT) !== S_IFREG) return -EOPNOTSUPP;
  const how = constants.O_CREAT | constants.O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const fd = outcome(native.openat(dir, name, how, "int", permissions));
  return fd < 0 ? fd : close(fd);
}

export function symlinkAt(target: CString, dir: number, name: CString): number {
  return outcome(native.symlinkat(target, dir, name));
}

/** link(2) would link what a symbolic link leads to; linkat(2) without AT_SYMLINK_FOLLOW links itself. */
export function linkAt(_procFd: number, fd: number, dir: number, name: CString): number {
  const path = inodePath(fd);
  return typeof path === "number" ? path : outcome(native.linkat(AT_FDCWD, path, dir, name, 0));
}

export function unlinkAt(dir: number, name: CString): number {
  return outcome(native.unlinkat(dir, name, 0));
}

export function rmdirAt(dir: number, name: CString): number {
  return outcome(native.unlinkat(dir, name, AT_REMOVEDIR));
}

export function renameAt(
  oldDir: number,
  oldName: CString,
  newDir: number,
  newName: CString,
  flags: number,
): number {
  const how = darwinRenameFlags(flags);
  if (how === undefined) return -EOPNOTSUPP;
  return outcome(native.renameatx(oldDir, oldName, newDir, newName, how));
}

export function readlink(fd: number, out: Uint8Array): number {
  const path = inodePath(fd);
  return typeof path === "number"
    ? path
    : outcome(native.readlinkat(AT_FDCWD, path, out, out.length));
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
