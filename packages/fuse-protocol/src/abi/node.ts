import { defineStruct } from "@supermachine-internal/struct";

// fuse_attr.flags
/** The object is the root of a submount. */
export const FUSE_ATTR_SUBMOUNT = 1 << 0;
/** Enable DAX for this file in per-inode DAX mode. */
export const FUSE_ATTR_DAX = 1 << 1;

export const fuse_attr = defineStruct("fuse_attr", 88, {
  ino: "u64",
  size: "u64",
  blocks: "u64",
  atime: "u64",
  mtime: "u64",
  ctime: "u64",
  atimensec: "u32",
  mtimensec: "u32",
  ctimensec: "u32",
  mode: "u32",
  nlink: "u32",
  uid: "u32",
  gid: "u32",
  rdev: "u32",
  blksize: "u32",
  flags: "u32",
});

export const FUSE_COMPAT_ENTRY_OUT_SIZE = 120;
export const fuse_entry_out = defineStruct("fuse_entry_out", 128, {
  nodeid: "u64",
  generation: "u64",
  entry_valid: "u64",
  attr_valid: "u64",
  entry_valid_nsec: "u32",
  attr_valid_nsec: "u32",
  attr: { bytes: fuse_attr.size },
});

export const fuse_forget_in = defineStruct("fuse_forget_in", 8, { nlookup: "u64" });
export const fuse_forget_one = defineStruct("fuse_forget_one", 16, {
  nodeid: "u64",
  nlookup: "u64",
});
/** Followed by `count` times {@link fuse_forget_one}. */
export const fuse_batch_forget_in = defineStruct("fuse_batch_forget_in", 8, {
  count: "u32",
  dummy: "u32",
});

/** `fuse_getattr_in.fh` is valid. */
export const FUSE_GETATTR_FH = 1 << 0;

export const fuse_getattr_in = defineStruct("fuse_getattr_in", 16, {
  getattr_flags: "u32",
  dummy: "u32",
  fh: "u64",
});

export const FUSE_COMPAT_ATTR_OUT_SIZE = 96;
export const fuse_attr_out = defineStruct("fuse_attr_out", 104, {
  attr_valid: "u64",
  attr_valid_nsec: "u32",
  dummy: "u32",
  attr: { bytes: fuse_attr.size },
});

// fuse_setattr_in.valid
export const FATTR_MODE = 1 << 0;
export const FATTR_UID = 1 << 1;
export const FATTR_GID = 1 << 2;
export const FATTR_SIZE = 1 << 3;
export const FATTR_ATIME = 1 << 4;
export const FATTR_MTIME = 1 << 5;
export const FATTR_FH = 1 << 6;
export const FATTR_ATIME_NOW = 1 << 7;
export const FATTR_MTIME_NOW = 1 << 8;
export const FATTR_LOCKOWNER = 1 << 9;
export const FATTR_CTIME = 1 << 10;
export const FATTR_KILL_SUIDGID = 1 << 11;

export const fuse_setattr_in = defineStruct("fuse_setattr_in", 88, {
  valid: "u32",
  padding: "u32",
  fh: "u64",
  size: "u64",
  lock_owner: "u64",
  atime: "u64",
  mtime: "u64",
  ctime: "u64",
  atimensec: "u32",
  mtimensec: "u32",
  ctimensec: "u32",
  mode: "u32",
  unused4: "u32",
  uid: "u32",
  gid: "u32",
  unused5: "u32",
});

export const fuse_sx_time = defineStruct("fuse_sx_time", 16, {
  tv_sec: "s64",
  tv_nsec: "u32",
  __reserved: "s32",
});

export const fuse_statx = defineStruct("fuse_statx", 256, {
  mask: "u32",
  blksize: "u32",
  attributes: "u64",
  nlink: "u32",
  uid: "u32",
  gid: "u32",
  mode: "u16",
  __spare0: "u16",
  ino: "u64",
  size: "u64",
  blocks: "u64",
  attributes_mask: "u64",
  atime: { bytes: fuse_sx_time.size },
  btime: { bytes: fuse_sx_time.size },
  ctime: { bytes: fuse_sx_time.size },
  mtime: { bytes: fuse_sx_time.size },
  rdev_major: "u32",
  rdev_minor: "u32",
  dev_major: "u32",
  dev_minor: "u32",
  __spare2: { bytes: 112 },
});

export const fuse_statx_in = defineStruct("fuse_statx_in", 24, {
  getattr_flags: "u32",
  reserved: "u32",
  fh: "u64",
  sx_flags: "u32",
  sx_mask: "u32",
});

export const fuse_statx_out = defineStruct("fuse_statx_out", 288, {
  attr_valid: "u64",
  attr_valid_nsec: "u32",
  flags: "u32",
  spare: { bytes: 16 },
  stat: { bytes: fuse_statx.size },
});

export const FUSE_COMPAT_STATFS_SIZE = 48;
export const fuse_kstatfs = defineStruct("fuse_kstatfs", 80, {
  blocks: "u64",
  bfree: "u64",
  bavail: "u64",
  files: "u64",
  ffree: "u64",
  bsize: "u32",
  namelen: "u32",
  frsize: "u32",
  padding: "u32",
  spare: { bytes: 24 },
});
export const fuse_statfs_out = defineStruct("fuse_statfs_out", 80, {
  st: { bytes: fuse_kstatfs.size },
});
export const fuse_syncfs_in = defineStruct("fuse_syncfs_in", 8, { padding: "u64" });

export const fuse_access_in = defineStruct("fuse_access_in", 8, { mask: "u32", padding: "u32" });
