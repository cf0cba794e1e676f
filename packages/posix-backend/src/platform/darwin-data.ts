/** Attributes and contents of files on macOS: see `darwin.ts`. */

import { functionAside } from "../syscalls/aside.js";
import { UTIME_NOW, UTIME_OMIT } from "../syscalls/constants.js";
import type { CString } from "../syscalls/linux.js";
import { timespecStruct } from "../syscalls/structs.js";
import {
  darwinStatfsStruct,
  darwinStatStruct,
  darwinXattrOptions,
  fpunchholeStruct,
  fstoreStruct,
  statfsFromDarwin,
  statxFromDarwin,
} from "./darwin-abi.js";
import * as darwin from "./darwin-constants.js";
import { linuxErrno } from "./darwin-errno.js";
import { native, outcome, statBytes, statView } from "./darwin-native.js";

const statAt = darwinStatStruct.offsets;

export function fstat(fd: number, statx: Uint8Array): number {
  const result = outcome(native.fstat(fd, statBytes));
  if (result === 0) statxFromDarwin(statView, statx);
  return result;
}

export function fstatAt(dir: number, name: CString, statx: Uint8Array): number {
  const result = outcome(native.fstatat(dir, name, statBytes, darwin.AT_SYMLINK_NOFOLLOW));
  if (result === 0) statxFromDarwin(statView, statx);
  return result;
}

const statfsBytes = new Uint8Array(darwinStatfsStruct.size);

export function fstatfs(fd: number, out: Uint8Array): number {
  const result = outcome(native.fstatfs(fd, statfsBytes));
  if (result === 0) statfsFromDarwin(statfsBytes, out);
  return result;
}

/** Whether the user of this process may do `mode` with a name. */
export function accessAt(dir: number, name: CString, mode: number): number {
  return outcome(native.faccessat(dir, name, mode, darwin.AT_EACCESS | darwin.AT_SYMLINK_NOFOLLOW));
}

export function duplicate(fd: number): number {
  return outcome(native.fcntlOfNumber(fd, darwin.F_DUPFD_CLOEXEC, "int", 0));
}

export function pread(fd: number, to: Uint8Array, offset: number): number {
  return outcome(native.pread(fd, to, to.length, offset));
}

export function pwrite(fd: number, from: Uint8Array, offset: number): number {
  return outcome(native.pwrite(fd, from, from.length, offset));
}

export function preadv(fd: number, vectors: Uint8Array, count: number, offset: number): number {
  return outcome(native.preadv(fd, vectors, count, offset));
}

export function pwritev(fd: number, vectors: Uint8Array, count: number, offset: number): number {
  return outcome(native.pwritev(fd, vectors, count, offset));
}

export function fchmod(fd: number, mode: number): number {
  return outcome(native.fchmod(fd, mode));
}

export function fchmodAt(dir: number, name: CString, mode: number): number {
  return outcome(native.fchmodat(dir, name, mode, darwin.AT_SYMLINK_NOFOLLOW));
}

export function fchown(fd: number, uid: number, gid: number): number {
  return outcome(native.fchown(fd, uid, gid));
}

export function fchownAt(dir: number, name: CString, uid: number, gid: number): number {
  return outcome(native.fchownat(dir, name, uid, gid, darwin.AT_SYMLINK_NOFOLLOW));
}

/** UTIME_NOW and UTIME_OMIT are -1 and -2. */
export function darwinTimes(times: Uint8Array): Uint8Array {
  const own = Uint8Array.from(times);
  const view = new DataView(own.buffer);
  for (let at = timespecStruct.offsets.tv_nsec; at < own.length; at += timespecStruct.size) {
    const nanoseconds = view.getBigInt64(at, true);
    if (nanoseconds === BigInt(UTIME_NOW)) view.setBigInt64(at, BigInt(darwin.UTIME_NOW), true);
    else if (nanoseconds === BigInt(UTIME_OMIT))
      view.setBigInt64(at, BigInt(darwin.UTIME_OMIT), true);
  }
  return own;
}

export function futimens(fd: number, times: Uint8Array): number {
  return outcome(native.futimens(fd, darwinTimes(times)));
}

export function utimensAt(dir: number, name: CString, times: Uint8Array): number {
  return outcome(native.utimensat(dir, name, darwinTimes(times), darwin.AT_SYMLINK_NOFOLLOW));
}

export function ftruncate(fd: number, size: number): number {
  return outcome(native.ftruncate(fd, size));
}

export function setAppends(fd: number, appends: boolean): boolean {
  const flags = native.fcntlOfNumber(fd, darwin.F_GETFL, "int", 0);
  const changed = appends ? flags | darwin.O_APPEND : flags & ~darwin.O_APPEND;
  native.fcntlOfNumber(fd, darwin.F_SETFL, "int", changed);
  return (flags & darwin.O_APPEND) !== 0;
}

/** macOS makes room behind the end of what a file has, and nowhere else. */
export function preallocate(fd: number, offset: number, length: number): number {
  const failure = outcome(native.fstat(fd, statBytes));
  if (failure < 0) return failure;
  const missing = BigInt(offset + length) - statView.getBigInt64(statAt.st_size, true);
  if (missing <= 0n) return 0;
  const store = new Uint8Array(fstoreStruct.size);
  const fields = {
    fst_flags: darwin.F_ALLOCATEALL,
    fst_posmode: darwin.F_PEOFPOSMODE,
    fst_offset: 0n,
  };
  fstoreStruct.encode({ ...fields, fst_length: missing, fst_bytesalloc: 0n }, store);
  return Math.min(outcome(native.fcntl(fd, darwin.F_PREALLOCATE, "void *", store)), 0);
}

export function punchHole(fd: number, offset: number, length: number): number {
  const hole = new Uint8Array(fpunchholeStruct.size);
  fpunchholeStruct.encode(
    { fp_flags: 0, reserved: 0, fp_offset: BigInt(offset), fp_length: BigInt(length) },
    hole,
  );
  return Math.min(outcome(native.fcntl(fd, darwin.F_PUNCHHOLE, "void *", hole)), 0);
}

export const closeAside = functionAside<[fd: number]>("int close(int fd)", linuxErrno);
export const preadvAside = functionAside<
  [fd: number, vectors: Uint8Array, count: number, offset: number]
>("intptr_t preadv(int d, const void *iov, int iovcnt, int64_t offset)", linuxErrno);

/** F_FULLFSYNC takes no argument; a function with variable arguments could not be called on another thread. */
const fullSync = functionAside<[fd: number, command: number]>(
  "int fcntl(int fd, int cmd)",
  linuxErrno,
);
const plainSync = functionAside<[fd: number]>("int fsync(int fd)", linuxErrno);
const volumeSync = functionAside<[fd: number, flags: number]>(
  "int fsync_volume_np(int fd, int flags)",
  linuxErrno,
);

/** fsync(2) of macOS leaves data in the drive's cache; darwin.F_FULLFSYNC does not, where the volume knows it. */
export async function fsyncAside(fd: number): Promise<number> {
  const result = await fullSync(fd, darwin.F_FULLFSYNC);
  return result >= 0 ? 0 : plainSync(fd);
}

/** Whether a file's attributes are written as well, macOS does not tell apart. */
export const fdatasyncAside = fsyncAside;

export function syncfsAside(fd: number): Promise<number> {
  return volumeSync(fd, darwin.SYNC_VOLUME_FULLSYNC | darwin.SYNC_VOLUME_WAIT);
}

// Of the resource fork, whose attribute has positions, only whole values are read and written: at position 0.

export function fsetxattr(fd: number, name: CString, value: Uint8Array, flags: number): number {
  const options = darwinXattrOptions(flags);
  return outcome(native.fsetxattr(fd, name, value, value.length, 0, options));
}

export function fgetxattr(fd: number, name: CString, out: Uint8Array): number {
  return outcome(native.fgetxattr(fd, name, out, out.length, 0, 0));
}

export function flistxattr(fd: number, out: Uint8Array): number {
  return outcome(native.flistxattr(fd, out, out.length, 0));
}

export function fremovexattr(fd: number, name: CString): number {
  return outcome(native.fremovexattr(fd, name, 0));
}

/** Whatever `resource` says: this package asks for fds only. */
export function getrlimit(_resource: number, out: Uint8Array): number {
  return outcome(native.getrlimit(darwin.RLIMIT_NOFILE, out));
}

export function freePages(address: bigint, length: number): void {
  native.madvise(address, length, darwin.MADV_FREE);
}

export function yieldProcessor(): void {
  native.schedYield();
}
