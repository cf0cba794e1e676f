/**
 * The system calls of the platform that this runs on, in the form of those of Linux.
 */
import { ENOSYS } from "@supermachine/fuse-protocol";
import * as linux from "../syscalls/linux.js";
import * as darwin from "./darwin.js";

type SystemCalls = typeof linux;

/** What a platform does not have answers ENOSYS. */
export function systemCalls(platform: NodeJS.Platform): SystemCalls {
  if (platform !== "darwin") return linux;
  const missing = Object.keys(linux).map((name) => [name, () => -ENOSYS]);
  return { ...Object.fromEntries(missing), ...darwin };
}

export const {
  access,
  chmodLink,
  chown,
  close,
  copyFileRange,
  duplicate,
  fallocate,
  fchmod,
  fstatfs,
  ftruncate,
  getdents64,
  getrlimit,
  getxattr,
  linkAt,
  listxattr,
  lseek,
  makeRoomForDescriptors,
  mkdirAt,
  mknodAt,
  openAt,
  openPath,
  pread,
  preadv,
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
  setxattr,
  statx,
  statxAt,
  symlinkAt,
  unlinkAt,
  utimens,
} = systemCalls(process.platform);
