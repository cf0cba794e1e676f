/**
 * The Linux system calls of this package. Each returns its result, zero or positive, or a negated
 * errno; nothing throws and nothing is retried. Every fd that is made here is close-on-exec.
 *
 * A `name` is a NUL-terminated path of one component, looked up below a directory fd. A `link` is the
 * decimal name of an fd below /proc/self/fd: following that magic link reaches exactly the inode the fd
 * holds, so a handle opened with O_PATH is reopened or changed without any name being resolved again.
 *
 * Variadic functions are declared with a fixed prototype: on Linux, x86-64 and arm64, both pass the
 * same registers.
 */
import { lastErrno, lazyFunction } from "@supermachine-internal/libc";
import {
  AT_EACCESS,
  AT_EMPTY_PATH,
  AT_REMOVEDIR,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
  RWF_NOWAIT,
  STATX_BASIC_STATS,
  STATX_BTIME,
  STATX_MNT_ID,
} from "./constants.js";
import { openHowStruct } from "./structs.js";

/** A path of one component as C takes it: bytes that end with a NUL. */
export type CString = Uint8Array;
type Path = CString | string;

function outcome(result: number): number {
  return result === -1 ? -lastErrno() : result;
}

const native = {
  openat: lazyFunction<(dir: number, path: Path, flags: number, mode: number) => number>(
    "int openat(int dirfd, const char *pathname, int flags, unsigned int mode)",
  ),
  syscall4: lazyFunction<
    (number: number, a: number, b: Path, c: Uint8Array, d: number) => number | bigint
  >("intptr_t syscall(intptr_t number, intptr_t a, const char *b, void *c, intptr_t d)"),
  duplicate: lazyFunction<(fd: number, command: number, lowest: number) => number>(
    "int fcntl(int fd, int cmd, intptr_t arg)",
  ),
  faccessat2: lazyFunction<
    (number: number, fd: number, path: Path, mode: number, flags: number) => number
  >(
    "intptr_t syscall(intptr_t number, intptr_t dirfd, const char *path, intptr_t mode, intptr_t flags)",
  ),
  close: lazyFunction<(fd: number) => number>("int close(int fd)"),
  statx: lazyFunction<
    (dir: number, path: Path, flags: number, mask: number, out: Uint8Array) => number
  >("int statx(int dirfd, const char *pathname, int flags, unsigned int mask, void *statxbuf)"),
  pread: lazyFunction<(fd: number, to: Uint8Array, length: number, offset: number) => number>(
    "intptr_t pread64(int fd, void *buf, size_t count, int64_t offset)",
  ),
  pwrite: lazyFunction<(fd: number, from: Uint8Array, length: number, offset: number) => number>(
    "intptr_t pwrite64(int fd, const void *buf, size_t count, int64_t offset)",
  ),
  preadv: lazyFunction<(fd: number, vectors: Uint8Array, count: number, offset: number) => number>(
    "intptr_t preadv64(int fd, const void *iov, int iovcnt, int64_t offset)",
  ),
  preadv2: lazyFunction<
    (fd: number, vectors: Uint8Array, count: number, offset: number, flags: number) => number
  >("intptr_t preadv64v2(int fd, const void *iov, int iovcnt, int64_t offset, int flags)"),
  pwritev: lazyFunction<(fd: number, vectors: Uint8Array, count: number, offset: number) => number>(
    "intptr_t pwritev64(int fd, const void *iov, int iovcnt, int64_t offset)",
  ),
  mkdirat: lazyFunction<(dir: number, path: Path, mode: number) => number>(
    "int mkdirat(int dirfd, const char *pathname, unsigned int mode)",
  ),
  mknodat: lazyFunction<(dir: number, path: Path, mode: number, device: number) => number>(
    "int mknodat(int dirfd, const char *pathname, unsigned int mode, uint64_t dev)",
  ),
  symlinkat: lazyFunction<(target: CString, dir: number, path: Path) => number>(
    "int symlinkat(const char *target, int newdirfd, const char *linkpath)",
  ),
  linkat: lazyFunction<
    (oldDir: number, oldPath: Path, newDir: number, newPath: Path, flags: number) => number
  >("int linkat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, int flags)"),
  unlinkat: lazyFunction<(dir: number, path: Path, flags: number) => number>(
    "int unlinkat(int dirfd, const char *pathname, int flags)",
  ),
  renameat2: lazyFunction<
    (oldDir: number, oldPath: Path, newDir: number, newPath: Path, flags: number) => number
  >(
    "int renameat2(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, unsigned int flags)",
  ),
  readlinkat: lazyFunction<(dir: number, path: Path, out: Uint8Array, size: number) => number>(
    "intptr_t readlinkat(int dirfd, const char *pathname, void *buf, size_t bufsiz)",
  ),
  getdents64: lazyFunction<(fd: number, out: Uint8Array, size: number) => number>(
    "intptr_t getdents64(int fd, void *dirp, size_t count)",
  ),
  fchmod: lazyFunction<(fd: number, mode: number) => number>(
    "int fchmod(int fd, unsigned int mode)",
  ),
  fchmodat: lazyFunction<(dir: number, path: Path, mode: number, flags: number) => number>(
    "int fchmodat(int dirfd, const char *pathname, unsigned int mode, int flags)",
  ),
  fchownat: lazyFunction<
    (dir: number, path: Path, uid: number, gid: number, flags: number) => number
  >(
    "int fchownat(int dirfd, const char *pathname, unsigned int owner, unsigned int group, int flags)",
  ),
  utimensat: lazyFunction<(dir: number, path: Path, times: Uint8Array, flags: number) => number>(
    "int utimensat(int dirfd, const char *pathname, const void *times, int flags)",
  ),
  ftruncate: lazyFunction<(fd: number, size: number) => number>(
    "int ftruncate64(int fd, int64_t length)",
  ),
  fallocate: lazyFunction<(fd: number, mode: number, offset: number, length: number) => number>(
    "int fallocate64(int fd, int mode, int64_t offset, int64_t len)",
  ),
  lseek: lazyFunction<(fd: number, offset: number | bigint, whence: number) => number | bigint>(
    "int64_t lseek64(int fd, int64_t offset, int whence)",
  ),
  copyFileRange: lazyFunction<
    (
      from: number,
      fromOffset: Uint8Array,
      to: number,
      toOffset: Uint8Array,
      length: number,
      flags: number,
    ) => number
  >(
    "intptr_t copy_file_range(int fd_in, void *off_in, int fd_out, void *off_out, size_t len, unsigned int flags)",
  ),
  fstatfs: lazyFunction<(fd: number, out: Uint8Array) => number>(
    "int fstatfs64(int fd, void *buf)",
  ),
  setxattr: lazyFunction<
    (path: Path, name: CString, value: Uint8Array, size: number, flags: number) => number
  >("int setxattr(const char *path, const char *name, const void *value, size_t size, int flags)"),
  getxattr: lazyFunction<
    (path: Path, name: CString, out: Uint8Array | null, size: number) => number
  >("intptr_t getxattr(const char *path, const char *name, void *value, size_t size)"),
  listxattr: lazyFunction<(path: Path, out: Uint8Array | null, size: number) => number>(
    "intptr_t listxattr(const char *path, void *list, size_t size)",
  ),
  removexattr: lazyFunction<(path: Path, name: CString) => number>(
    "int removexattr(const char *path, const char *name)",
  ),
  getrlimit: lazyFunction<(resource: number, out: Uint8Array) => number>(
    "int getrlimit64(int resource, void *rlim)",
  ),
};

const AT_FDCWD = -100;

/** Opens a path that the embedder gave, by the usual rules: never one of a client. */
export function openPath(path: string, flags: number): number {
  return outcome(native.openat(AT_FDCWD, path, flags | O_CLOEXEC, 0));
}

/** Opens `name` below `dir`; a symbolic link in its place is not followed. */
export function openAt(dir: number, name: Path, flags: number, mode = 0): number {
  return outcome(native.openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC, mode));
}

/** Opens the inode that a magic link names: the one following of a link in this package. */
export function reopen(procFd: number, fd: number, flags: number): number {
  return outcome(native.openat(procFd, `${fd}`, flags | O_CLOEXEC, 0));
}

/** openat2(2) has one number on every architecture. */
const SYS_OPENAT2 = 437;
const openHow = new Uint8Array(openHowStruct.size);
const openHowView = new DataView(openHow.buffer);

/**
 * An O_PATH handle of what `path`, symbolic links followed, leads to below `dir`, by the rules of
 * `resolve`. The kernel itself refuses (EXDEV) to leave `dir`, under any race.
 */
export function resolveAt(dir: number, path: CString, resolve: number): number {
  openHowView.setUint32(openHowStruct.offsets.flags, O_PATH | O_CLOEXEC, true);
  openHowView.setUint32(openHowStruct.offsets.resolve, resolve, true);
  return outcome(Number(native.syscall4(SYS_OPENAT2, dir, path, openHow, openHow.length)));
}

const F_DUPFD_CLOEXEC = 1030;

/** Another fd of the same open file. */
export function duplicate(fd: number): number {
  return outcome(native.duplicate(fd, F_DUPFD_CLOEXEC, 0));
}

/**
 * Has the kernel make room for `count` descriptors at once. It doubles its table as they are opened, and in a
 * process with threads waits each time until no CPU can still be reading the old one, for 10 ms and more.
 *
 * @param fd - Any that is open.
 */
export function makeRoomForDescriptors(fd: number, count: number): void {
  const last = native.duplicate(fd, F_DUPFD_CLOEXEC, count - 1);
  if (last >= 0) close(last);
}

/** faccessat2(2) has one number on every architecture. */
const SYS_FACCESSAT2 = 439;

/** Whether this thread's file system ids, groups and capabilities allow `mode` on what `fd` holds. */
export function access(fd: number, mode: number): number {
  return outcome(native.faccessat2(SYS_FACCESSAT2, fd, "", mode, AT_EMPTY_PATH | AT_EACCESS));
}

export function close(fd: number): number {
  return outcome(native.close(fd));
}

/** The attributes of what `fd` holds, O_PATH handles included, into a `struct statx`. */
export function statx(fd: number, out: Uint8Array): number {
  const mask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
  return outcome(native.statx(fd, "", AT_EMPTY_PATH, mask, out));
}

/** The attributes of `name` below `dir` itself, should it be a symbolic link. */
export function statxAt(dir: number, name: CString, out: Uint8Array): number {
  const mask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
  return outcome(native.statx(dir, name, AT_SYMLINK_NOFOLLOW, mask, out));
}

export function pread(fd: number, to: Uint8Array, offset: number): number {
  return outcome(native.pread(fd, to, to.length, offset));
}

export function pwrite(fd: number, from: Uint8Array, offset: number): number {
  return outcome(native.pwrite(fd, from, from.length, offset));
}

/** `vectors` holds `count` packed `struct iovec`, at most 1024. */
export function preadv(fd: number, vectors: Uint8Array, count: number, offset: number): number {
  return outcome(native.preadv(fd, vectors, count, offset));
}

/** As {@link preadv}, but fails with EAGAIN where it would have to wait (`RWF_NOWAIT`). */
export function preadvCached(
  fd: number,
  vectors: Uint8Array,
  count: number,
  offset: number,
): number {
  return outcome(native.preadv2(fd, vectors, count, offset, RWF_NOWAIT));
}

/** `vectors` holds `count` packed `struct iovec`, at most 1024. */
export function pwritev(fd: number, vectors: Uint8Array, count: number, offset: number): number {
  return outcome(native.pwritev(fd, vectors, count, offset));
}

export function mkdirAt(dir: number, name: CString, mode: number): number {
  return outcome(native.mkdirat(dir, name, mode));
}

/** @param device - In the kernel's 32-bit encoding, which for these numbers is also that of glibc. */
export function mknodAt(dir: number, name: CString, mode: number, device: number): number {
  return outcome(native.mknodat(dir, name, mode, device));
}

export function symlinkAt(target: CString, dir: number, name: CString): number {
  return outcome(native.symlinkat(target, dir, name));
}

/** Links the inode of `fd`, be it a symbolic link, to `name` below `dir`. */
export function linkAt(procFd: number, fd: number, dir: number, name: CString): number {
  return outcome(native.linkat(procFd, `${fd}`, dir, name, AT_SYMLINK_FOLLOW));
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
  return outcome(native.renameat2(oldDir, oldName, newDir, newName, flags));
}

/** The target of the symbolic link that `fd` itself holds. */
export function readlink(fd: number, out: Uint8Array): number {
  return outcome(native.readlinkat(fd, "", out, out.length));
}

/** The host path that a magic link shows: for messages and for RESOLVE_BENEATH, never to be trusted. */
export function readMagicLink(procFd: number, fd: number, out: Uint8Array): number {
  return outcome(native.readlinkat(procFd, `${fd}`, out, out.length));
}

export function getdents64(fd: number, out: Uint8Array): number {
  return outcome(native.getdents64(fd, out, out.length));
}

export function fchmod(fd: number, mode: number): number {
  return outcome(native.fchmod(fd, mode));
}

/** chmod(2) of what an O_PATH handle holds; EOPNOTSUPP for a symbolic link. */
export function chmodLink(procFd: number, fd: number, mode: number): number {
  return outcome(native.fchmodat(procFd, `${fd}`, mode, 0));
}

/** An id of 0xffffffff leaves that owner as it is. */
export function chown(fd: number, uid: number, gid: number): number {
  return outcome(native.fchownat(fd, "", uid, gid, AT_EMPTY_PATH));
}

/** `times` holds two `struct timespec`: access, then modification. */
export function utimens(fd: number, times: Uint8Array): number {
  return outcome(native.utimensat(fd, "", times, AT_EMPTY_PATH));
}

export function ftruncate(fd: number, size: number): number {
  return outcome(native.ftruncate(fd, size));
}

export function fallocate(fd: number, mode: number, offset: number, length: number): number {
  return outcome(native.fallocate(fd, mode, offset, length));
}

/** Directory cookies may use all 64 bits, so they are `bigint`; file offsets fit a `number`. */
export function lseek(fd: number, offset: number | bigint, whence: number): number {
  const result = native.lseek(fd, offset, whence);
  return typeof result === "bigint" ? 0 : outcome(result);
}

const rangeOffsets = new BigInt64Array(2);
const fromOffsetBytes = new Uint8Array(rangeOffsets.buffer, 0, 8);
const toOffsetBytes = new Uint8Array(rangeOffsets.buffer, 8, 8);

export function copyFileRange(
  from: number,
  fromOffset: number,
  to: number,
  toOffset: number,
  length: number,
): number {
  rangeOffsets[0] = BigInt(fromOffset);
  rangeOffsets[1] = BigInt(toOffset);
  return outcome(native.copyFileRange(from, fromOffsetBytes, to, toOffsetBytes, length, 0));
}

export function fstatfs(fd: number, out: Uint8Array): number {
  return outcome(native.fstatfs(fd, out));
}

// getxattr(2) and its like refuse O_PATH fds, and opening a file to call fgetxattr(2) would need read
// permission and must not be done to a device: the magic link serves every type, symbolic links included.

export function setxattr(fd: number, name: CString, value: Uint8Array, flags: number): number {
  return outcome(native.setxattr(`/proc/self/fd/${fd}`, name, value, value.length, flags));
}

/** With an empty `out`, the size of the value. */
export function getxattr(fd: number, name: CString, out: Uint8Array): number {
  return outcome(native.getxattr(`/proc/self/fd/${fd}`, name, out, out.length));
}

/** With an empty `out`, the size of the list. */
export function listxattr(fd: number, out: Uint8Array): number {
  return outcome(native.listxattr(`/proc/self/fd/${fd}`, out, out.length));
}

export function removexattr(fd: number, name: CString): number {
  return outcome(native.removexattr(`/proc/self/fd/${fd}`, name));
}

export function getrlimit(resource: number, out: Uint8Array): number {
  return outcome(native.getrlimit(resource, out));
}
