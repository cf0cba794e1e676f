/**
 * Linux, used as if it had no more than other systems: neither O_PATH nor /proc, file handles, openat2 or calls on an
 * empty path. So what runs on macOS is tested here.
 */
import {
  ENOSYS,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  O_APPEND,
  O_NOCTTY,
  O_NONBLOCK,
} from "@supermachine/fuse-protocol";
import { lastErrno, lazyFunction } from "@supermachine-internal/libc";
import * as aside from "../../syscalls/aside.js";
import {
  AT_EACCESS,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
} from "../../syscalls/constants.js";
import { yieldProcessor } from "../../syscalls/inode-handles.js";
import type { CString } from "../../syscalls/linux.js";
import * as linux from "../../syscalls/linux.js";
import * as locks from "../../syscalls/locks.js";
import type { PosixCalls } from "./posix-calls.js";

const AT_FDCWD = -100;
/** As macOS has it. */
const MADV_FREE = 8;

const native = {
  openat: lazyFunction<
    (dir: number, path: CString | string, flags: number, mode: number) => number
  >("int openat(int dirfd, const char *pathname, int flags, unsigned int mode)"),
  /** fchmodat2(2): fchmodat(3) of glibc needs /proc to leave symbolic links alone. */
  fchmodat2: lazyFunction<
    (number: number, dir: number, path: CString, mode: number, flags: number) => number
  >(
    "intptr_t syscall(intptr_t number, intptr_t dirfd, const char *path, intptr_t mode, intptr_t flags)",
  ),
  fchownat: lazyFunction<
    (dir: number, path: CString, uid: number, gid: number, flags: number) => number
  >(
    "int fchownat(int dirfd, const char *pathname, unsigned int owner, unsigned int group, int flags)",
  ),
  utimensat: lazyFunction<(dir: number, path: CString, times: Uint8Array, flags: number) => number>(
    "int utimensat(int dirfd, const char *pathname, const void *times, int flags)",
  ),
  faccessat2: lazyFunction<
    (number: number, dir: number, path: CString, mode: number, flags: number) => number
  >(
    "intptr_t syscall(intptr_t number, intptr_t dirfd, const char *path, intptr_t mode, intptr_t flags)",
  ),
  readlinkat: lazyFunction<(dir: number, path: CString, out: Uint8Array, size: number) => number>(
    "intptr_t readlinkat(int dirfd, const char *pathname, void *buf, size_t bufsiz)",
  ),
  linkat: lazyFunction<
    (oldDir: number, oldPath: CString, newDir: number, newPath: CString, flags: number) => number
  >("int linkat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, int flags)"),
  fsetxattr: lazyFunction<
    (fd: number, name: CString, value: Uint8Array, size: number, flags: number) => number
  >("int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)"),
  fgetxattr: lazyFunction<(fd: number, name: CString, out: Uint8Array, size: number) => number>(
    "intptr_t fgetxattr(int fd, const char *name, void *value, size_t size)",
  ),
  flistxattr: lazyFunction<(fd: number, out: Uint8Array, size: number) => number>(
    "intptr_t flistxattr(int fd, void *list, size_t size)",
  ),
  fremovexattr: lazyFunction<(fd: number, name: CString) => number>(
    "int fremovexattr(int fd, const char *name)",
  ),
  fcntl: lazyFunction<(fd: number, command: number, argument: number) => number>(
    "int fcntl(int fd, int cmd, intptr_t arg)",
  ),
  madvise: lazyFunction<(address: bigint, length: number, advice: number) => number>(
    "int madvise(void *addr, size_t length, int advice)",
  ),
};

const F_GETFL = 3;
const F_SETFL = 4;
const SYS_FCHMODAT2 = 452;
const SYS_FACCESSAT2 = 439;

function outcome(result: number): number {
  return result === -1 ? -lastErrno() : result;
}

export const linuxPosixCalls: PosixCalls = {
  openDirectory: (path) => outcome(native.openat(AT_FDCWD, path, O_DIRECTORY | O_CLOEXEC, 0)),
  hold(dir, name, isDirectory) {
    const how = O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC;
    return outcome(native.openat(dir, name, isDirectory ? how | O_DIRECTORY : how, 0));
  },
  openAt: linux.openAt,
  openInode: () => -ENOSYS,
  close: linux.close,
  duplicate: linux.duplicate,
  // Stands in for F_GETPATH of macOS.
  pathOf: (fd, out) =>
    outcome(
      native.readlinkat(AT_FDCWD, Buffer.from(`/proc/self/fd/${fd}\0`, "latin1"), out, out.length),
    ),

  fstat: linux.statx,
  fstatAt: linux.statxAt,
  fchmod: linux.fchmod,
  fchmodAt: (dir, name, mode) =>
    outcome(native.fchmodat2(SYS_FCHMODAT2, dir, name, mode, AT_SYMLINK_NOFOLLOW)),
  fchown: linux.chown,
  fchownAt: (dir, name, uid, gid) =>
    outcome(native.fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW)),
  futimens: linux.utimens,
  utimensAt: (dir, name, times) => outcome(native.utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW)),
  accessAt: (dir, name, mode) =>
    outcome(native.faccessat2(SYS_FACCESSAT2, dir, name, mode, AT_SYMLINK_NOFOLLOW | AT_EACCESS)),
  fstatfs: linux.fstatfs,

  makeDirectoryAt: linux.mkdirAt,
  makeNodeAt: linux.mknodAt,
  symlinkAt: linux.symlinkAt,
  readlinkAt: (dir, name, out) => outcome(native.readlinkat(dir, name, out, out.length)),
  linkAt: (oldDir, oldName, dir, name) => outcome(native.linkat(oldDir, oldName, dir, name, 0)),
  unlinkAt: linux.unlinkAt,
  rmdirAt: linux.rmdirAt,
  renameAt: linux.renameAt,

  getdents64: linux.getdents64,
  lseek: linux.lseek,
  pread: linux.pread,
  pwrite: linux.pwrite,
  preadv: linux.preadv,
  pwritev: linux.pwritev,
  ftruncate: linux.ftruncate,
  setAppends(fd, appends) {
    const flags = native.fcntl(fd, F_GETFL, 0);
    native.fcntl(fd, F_SETFL, appends ? flags | O_APPEND : flags & ~O_APPEND);
    return (flags & O_APPEND) !== 0;
  },
  preallocate: (fd, offset, length) => linux.fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length),
  punchHole: (fd, offset, length) =>
    linux.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length),

  closeAside: aside.closeAside,
  preadvAside: aside.preadvAside,
  fsyncAside: aside.fsyncAside,
  fdatasyncAside: aside.fdatasyncAside,
  syncfsAside: aside.syncfsAside,

  fsetxattr: (fd, name, value, flags) =>
    outcome(native.fsetxattr(fd, name, value, value.length, flags)),
  fgetxattr: (fd, name, out) => outcome(native.fgetxattr(fd, name, out, out.length)),
  flistxattr: (fd, out) => outcome(native.flistxattr(fd, out, out.length)),
  fremovexattr: (fd, name) => outcome(native.fremovexattr(fd, name)),

  setRecordLock: locks.setRecordLock,
  findRecordLock: locks.findRecordLock,
  setFileLock: locks.setFileLock,

  getrlimit: linux.getrlimit,
  freePages(address, length) {
    native.madvise(address, length, MADV_FREE);
  },
  yieldProcessor,
};
