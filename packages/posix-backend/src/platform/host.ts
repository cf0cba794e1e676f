/**
 * The system calls of the platform that this runs on, in the form of those of Linux.
 *
 * `SUPERMACHINE_POSIX_PLATFORM=portable` has Linux work as other systems do; tests set it.
 */
import { darwinPosixCalls } from "./darwin.js";
import * as linux from "./linux-calls.js";
import { linuxPosixCalls } from "./portable/linux-posix-calls.js";
import { portableCalls } from "./portable/portable-calls.js";

/**
 * Whether this platform has no more than POSIX, and handles are made of that: no /proc, no file handles, no ids of
 * single threads, no inotify; and handles are known to one thread only.
 */
export const isPortable =
  process.platform !== "linux" || process.env["SUPERMACHINE_POSIX_PLATFORM"] === "portable";

function systemCalls(): typeof linux {
  if (!isPortable) return linux;
  return portableCalls(process.platform === "linux" ? linuxPosixCalls : darwinPosixCalls);
}

export const {
  access,
  chmodLink,
  chown,
  close,
  closeAside,
  copyFileRange,
  copyFileRangeAside,
  discardPages,
  duplicate,
  fallocate,
  fallocateAside,
  fchmod,
  fdatasyncAside,
  findRecordLock,
  fstatfs,
  fsyncAside,
  ftruncate,
  getdents64,
  getrlimit,
  getxattr,
  isSameInode,
  linkAt,
  listxattr,
  lseek,
  makeRoomForDescriptors,
  mkdirAt,
  mknodAt,
  openAt,
  openMade,
  openPath,
  pread,
  preadv,
  preadvAside,
  preadvCached,
  pwrite,
  pwritev,
  readMagicLink,
  readlink,
  removexattr,
  renameAt,
  reopen,
  resolveAt,
  rmdirAt,
  setFileLock,
  setRecordLock,
  setxattr,
  statx,
  statxAt,
  symlinkAt,
  syncfsAside,
  unlinkAt,
  utimens,
  yieldProcessor,
} = systemCalls();
