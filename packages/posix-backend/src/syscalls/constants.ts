import { constants } from "node:fs";

// Values that linux/fcntl.h, linux/stat.h, linux/openat2.h and linux/capability.h share between
// architectures, and through Node.js those open(2) flags that differ.

export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_EACCESS = 0x200;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_EMPTY_PATH = 0x1000;

export const O_PATH = 0o10000000;
export const O_CLOEXEC = 0o2000000;
const isLinux = process.platform === "linux";
/** Linux has other numbers on arm64. Elsewhere these stand for what they mean, and others go into calls. */
export const O_DIRECTORY = isLinux ? constants.O_DIRECTORY : 0o200000;
export const O_NOFOLLOW = isLinux ? constants.O_NOFOLLOW : 0o400000;
/** `__O_TMPFILE | O_DIRECTORY`. */
export const O_TMPFILE = 0o20000000 | O_DIRECTORY;

export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_BENEATH = 0x08;

export const STATX_BASIC_STATS = 0x07ff;
export const STATX_BTIME = 0x0800;
export const STATX_MNT_ID = 0x1000;

export const RWF_NOWAIT = 0x08;

export const UTIME_NOW = 0x3fffffff;
export const UTIME_OMIT = 0x3ffffffe;

export const RLIMIT_NOFILE = 7;

export const CAP_DAC_OVERRIDE = 1;
export const CAP_DAC_READ_SEARCH = 2;
export const CAP_MKNOD = 27;
