import { defineStruct } from "@supermachine-internal/struct";

// fuse_open_out.open_flags
export const FOPEN_DIRECT_IO = 1 << 0;
export const FOPEN_KEEP_CACHE = 1 << 1;
export const FOPEN_NONSEEKABLE = 1 << 2;
export const FOPEN_CACHE_DIR = 1 << 3;
export const FOPEN_STREAM = 1 << 4;
export const FOPEN_NOFLUSH = 1 << 5;
export const FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6;
export const FOPEN_PASSTHROUGH = 1 << 7;

/** Kill set-user-id and set-group-id bits; in `open_flags` of the request. */
export const FUSE_OPEN_KILL_SUIDGID = 1 << 0;

export const fuse_open_in = defineStruct("fuse_open_in", 8, { flags: "u32", open_flags: "u32" });
export const fuse_create_in = defineStruct("fuse_create_in", 16, {
  flags: "u32",
  mode: "u32",
  umask: "u32",
  open_flags: "u32",
});
export const fuse_open_out = defineStruct("fuse_open_out", 16, {
  fh: "u64",
  open_flags: "u32",
  /** Named `padding` before 7.40. */
  backing_id: "s32",
});

// fuse_release_in.release_flags
export const FUSE_RELEASE_FLUSH = 1 << 0;
export const FUSE_RELEASE_FLOCK_UNLOCK = 1 << 1;

export const fuse_release_in = defineStruct("fuse_release_in", 24, {
  fh: "u64",
  flags: "u32",
  release_flags: "u32",
  lock_owner: "u64",
});
export const fuse_flush_in = defineStruct("fuse_flush_in", 24, {
  fh: "u64",
  unused: "u32",
  padding: "u32",
  lock_owner: "u64",
});

/** `fuse_read_in.lock_owner` is valid. */
export const FUSE_READ_LOCKOWNER = 1 << 1;

export const fuse_read_in = defineStruct("fuse_read_in", 40, {
  fh: "u64",
  offset: "u64",
  size: "u32",
  read_flags: "u32",
  lock_owner: "u64",
  flags: "u32",
  padding: "u32",
});

// fuse_write_in.write_flags
/** A delayed write from the page cache: `fh` is a guess, and so are the caller's ids. */
export const FUSE_WRITE_CACHE = 1 << 0;
export const FUSE_WRITE_LOCKOWNER = 1 << 1;
export const FUSE_WRITE_KILL_SUIDGID = 1 << 2;

export const FUSE_COMPAT_WRITE_IN_SIZE = 24;
/** Followed by `size` bytes of data. */
export const fuse_write_in = defineStruct("fuse_write_in", 40, {
  fh: "u64",
  offset: "u64",
  size: "u32",
  write_flags: "u32",
  lock_owner: "u64",
  flags: "u32",
  padding: "u32",
});
export const fuse_write_out = defineStruct("fuse_write_out", 8, { size: "u32", padding: "u32" });

/** Sync the data only, not the metadata. */
export const FUSE_FSYNC_FDATASYNC = 1 << 0;

export const fuse_fsync_in = defineStruct("fuse_fsync_in", 16, {
  fh: "u64",
  fsync_flags: "u32",
  padding: "u32",
});

export const fuse_fallocate_in = defineStruct("fuse_fallocate_in", 32, {
  fh: "u64",
  offset: "u64",
  length: "u64",
  mode: "u32",
  padding: "u32",
});
export const fuse_lseek_in = defineStruct("fuse_lseek_in", 24, {
  fh: "u64",
  offset: "u64",
  whence: "u32",
  padding: "u32",
});
export const fuse_lseek_out = defineStruct("fuse_lseek_out", 8, { offset: "u64" });
export const fuse_copy_file_range_in = defineStruct("fuse_copy_file_range_in", 56, {
  fh_in: "u64",
  off_in: "u64",
  nodeid_out: "u64",
  fh_out: "u64",
  off_out: "u64",
  len: "u64",
  flags: "u64",
});
export const fuse_copy_file_range_out = defineStruct("fuse_copy_file_range_out", 8, {
  bytes_copied: "u64",
});
export const fuse_bmap_in = defineStruct("fuse_bmap_in", 16, {
  block: "u64",
  blocksize: "u32",
  padding: "u32",
});
export const fuse_bmap_out = defineStruct("fuse_bmap_out", 8, { block: "u64" });

/** Asks for a FUSE_NOTIFY_POLL when the file becomes ready. */
export const FUSE_POLL_SCHEDULE_NOTIFY = 1 << 0;

export const fuse_poll_in = defineStruct("fuse_poll_in", 24, {
  fh: "u64",
  kh: "u64",
  flags: "u32",
  events: "u32",
});
export const fuse_poll_out = defineStruct("fuse_poll_out", 8, { revents: "u32", padding: "u32" });

// fuse_ioctl_in.flags and fuse_ioctl_out.flags
export const FUSE_IOCTL_COMPAT = 1 << 0;
export const FUSE_IOCTL_UNRESTRICTED = 1 << 1;
export const FUSE_IOCTL_RETRY = 1 << 2;
export const FUSE_IOCTL_32BIT = 1 << 3;
export const FUSE_IOCTL_DIR = 1 << 4;
export const FUSE_IOCTL_COMPAT_X32 = 1 << 5;
export const FUSE_IOCTL_MAX_IOV = 256;

/** Followed by `in_size` bytes of the caller's argument. */
export const fuse_ioctl_in = defineStruct("fuse_ioctl_in", 32, {
  fh: "u64",
  flags: "u32",
  cmd: "u32",
  arg: "u64",
  in_size: "u32",
  out_size: "u32",
});
export const fuse_ioctl_iovec = defineStruct("fuse_ioctl_iovec", 16, { base: "u64", len: "u64" });
/** Followed by the bytes to copy back to the caller. */
export const fuse_ioctl_out = defineStruct("fuse_ioctl_out", 16, {
  result: "s32",
  flags: "u32",
  in_iovs: "u32",
  out_iovs: "u32",
});
