/** Attributes and contents of open files on macOS: see `darwin.ts`. */
import { EOPNOTSUPP, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from "@supermachine/fuse-protocol";
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
import { AT_FDCWD, inodePath, native, outcome, statBytes, statView } from "./darwin-native.js";

const AT_EACCESS = 0x10;
const AT_SYMLINK_NOFOLLOW = 0x20;
const F_PREALLOCATE = 42;
const F_FULLFSYNC = 51;
const F_DUPFD_CLOEXEC = 67;
const F_PUNCHHOLE = 99;
const F_ALLOCATEALL = 4;
const F_PEOFPOSMODE = 3;
const RLIMIT_NOFILE = 8;

const statAt = darwinStatStruct.offsets;

export function statx(fd: number, out: Uint8Array): number {
  const result = outcome(native.fstat(fd, statBytes));
  if (result === 0) statxFromDarwin(statView, out);
  return result;
}

export function statxAt(dir: number, name: CString, out: Uint8Array): number {
  const result = outcome(native.fstatat(dir, name, statBytes, AT_SYMLINK_NOFOLLOW));
  if (result === 0) statxFromDarwin(statView, out);
  return result;
}

const statfsBytes = new Uint8Array(darwinStatfsStruct.size);

export function fstatfs(fd: number, out: Uint8Array): number {
  const result = outcome(native.fstatfs(fd, statfsBytes));
  if (result === 0) statfsFromDarwin(statfsBytes, out);
  return result;
}

/** Whether the user of this process may do `mode` with what `fd` holds. */
export function access(fd: number, mode: number): number {
  const path = inodePath(fd);
  if (typeof path === "number") return path;
  return outcome(native.faccessat(AT_FDCWD, path, mode, AT_EACCESS));
}

/** Another fd of the same open file. */
export function duplicate(fd: number): number {
  return outcome(native.duplicate(fd, F_DUPFD_CLOEXEC, "int", 0));
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

/** macOS cannot say what it has cached. */
export function preadvCached(): number {
  return -EOPNOTSUPP;
}

export function pwritev(fd: number, vectors: Uint8Array, count: number, offset: number): number {
  return outcome(native.pwritev(fd, vectors, count, offset));
}

export function fchmod(fd: number, mode: number): number {
  return outcome(native.fchmod(fd, mode));
}

export function chmodLink(_procFd: number, fd: number, mode: number): number {
  return outcome(native.fchmod(fd, mode));
}

export function chown(fd: number, uid: number, gid: number): number {
  return outcome(native.fchown(fd, uid, gid));
}

/** UTIME_NOW and UTIME_OMIT are -1 and -2. */
export function utimens(fd: number, times: Uint8Array): number {
  const own = Uint8Array.from(times);
  const view = new DataView(own.buffer);
  for (let at = timespecStruct.offsets.tv_nsec; at < own.length; at += timespecStruct.size) {
    const nanoseconds = view.getBigInt64(at, true);
    if (nanoseconds === BigInt(UTIME_NOW)) view.setBigInt64(at, -1n, true);
    else if (nanoseconds === BigInt(UTIME_OMIT)) view.setBigInt64(at, -2n, true);
  }
  return outcome(native.futimens(fd, own));
}

export function ftruncate(fd: number, size: number): number {
  return outcome(native.ftruncate(fd, size));
}

const noArgument = new Uint8Array(8);

/** fsync(2) of macOS leaves data in the drive's cache; F_FULLFSYNC does not, where the volume knows it. */
export function fsync(fd: number): number {
  const result = outcome(native.fcntl(fd, F_FULLFSYNC, "void *", noArgument));
  return result >= 0 ? 0 : outcome(native.fsync(fd));
}

/** Room for a file, or a hole in it; nothing else has a counterpart. */
export function fallocate(fd: number, mode: number, offset: number, length: number): number {
  if (mode === (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)) {
    const hole = new Uint8Array(fpunchholeStruct.size);
    fpunchholeStruct.encode(
      { fp_flags: 0, reserved: 0, fp_offset: BigInt(offset), fp_length: BigInt(length) },
      hole,
    );
    return outcome(native.fcntl(fd, F_PUNCHHOLE, "void *", hole));
  }
  if (mode !== 0 && mode !== FALLOC_FL_KEEP_SIZE) return -EOPNOTSUPP;
  const failure = outcome(native.fstat(fd, statBytes));
  if (failure < 0) return failure;
  const size = Number(statView.getBigInt64(statAt.st_size, true));
  const missing = offset + length - size;
  if (missing <= 0) return 0;
  const store = new Uint8Array(fstoreStruct.size);
  const fields = { fst_flags: F_ALLOCATEALL, fst_posmode: F_PEOFPOSMODE, fst_offset: 0n };
  fstoreStruct.encode({ ...fields, fst_length: BigInt(missing), fst_bytesalloc: 0n }, store);
  const result = outcome(native.fcntl(fd, F_PREALLOCATE, "void *", store));
  return result < 0 || mode === FALLOC_FL_KEEP_SIZE ? result : ftruncate(fd, offset + length);
}

export function setxattr(fd: number, name: CString, value: Uint8Array, flags: number): number {
  const options = darwinXattrOptions(flags);
  return outcome(native.fsetxattr(fd, name, value, value.length, 0, options));
}

export function getxattr(fd: number, name: CString, out: Uint8Array): number {
  return outcome(native.fgetxattr(fd, name, out, out.length, 0, 0));
}

export function listxattr(fd: number, out: Uint8Array): number {
  return outcome(native.flistxattr(fd, out, out.length, 0));
}

export function removexattr(fd: number, name: CString): number {
  return outcome(native.fremovexattr(fd, name, 0));
}

/** Whatever `resource` says: this package asks for fds only. */
export function getrlimit(_resource: number, out: Uint8Array): number {
  return outcome(native.getrlimit(RLIMIT_NOFILE, out));
}
