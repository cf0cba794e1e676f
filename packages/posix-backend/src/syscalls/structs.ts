import { defineStruct } from "@supermachine-internal/struct";

/** `struct statx` of linux/stat.h; each timestamp is `struct statx_timestamp` (16 bytes). */
export const statxStruct = defineStruct("statx", 256, {
  stx_mask: "u32",
  stx_blksize: "u32",
  stx_attributes: "u64",
  stx_nlink: "u32",
  stx_uid: "u32",
  stx_gid: "u32",
  stx_mode: "u16",
  __spare0: "u16",
  stx_ino: "u64",
  stx_size: "u64",
  stx_blocks: "u64",
  stx_attributes_mask: "u64",
  stx_atime: { bytes: 16 },
  stx_btime: { bytes: 16 },
  stx_ctime: { bytes: 16 },
  stx_mtime: { bytes: 16 },
  stx_rdev_major: "u32",
  stx_rdev_minor: "u32",
  stx_dev_major: "u32",
  stx_dev_minor: "u32",
  stx_mnt_id: "u64",
  stx_dio_mem_align: "u32",
  stx_dio_offset_align: "u32",
  __spare3: { bytes: 96 },
});

/** `struct statx_timestamp` of linux/stat.h. */
export const statxTimestampStruct = defineStruct("statx_timestamp", 16, {
  tv_sec: "s64",
  tv_nsec: "u32",
  __reserved: "s32",
});

/** `struct statfs` of asm-generic/statfs.h on 64-bit platforms. */
export const statfsStruct = defineStruct("statfs", 120, {
  f_type: "s64",
  f_bsize: "s64",
  f_blocks: "u64",
  f_bfree: "u64",
  f_bavail: "u64",
  f_files: "u64",
  f_ffree: "u64",
  f_fsid: { bytes: 8 },
  f_namelen: "s64",
  f_frsize: "s64",
  f_flags: "s64",
  f_spare: { bytes: 32 },
});

/** `struct open_how` of linux/openat2.h. */
export const openHowStruct = defineStruct("open_how", 24, {
  flags: "u64",
  mode: "u64",
  resolve: "u64",
});

/** `struct file_handle` of fcntl.h, up to its bytes (name_to_handle_at(2)). */
export const fileHandleStruct = defineStruct("file_handle", 8, {
  handle_bytes: "u32",
  handle_type: "s32",
});

/** `struct timespec` on 64-bit platforms. */
export const timespecStruct = defineStruct("timespec", 16, { tv_sec: "s64", tv_nsec: "s64" });

/** `struct iovec` on 64-bit platforms. */
export const iovecStruct = defineStruct("iovec", 16, { iov_base: "u64", iov_len: "u64" });

/** `struct linux_dirent64` up to its name, which the kernel ends with a NUL (getdents64(2)). */
export const direntStruct = defineStruct("linux_dirent64", 19, {
  d_ino: "u64",
  d_off: "s64",
  d_reclen: "u16",
  d_type: "u8",
});

/** `struct __user_cap_header_struct` and two `struct __user_cap_data_struct` (capget(2), version 3). */
export const capabilityHeaderStruct = defineStruct("__user_cap_header_struct", 8, {
  version: "u32",
  pid: "s32",
});
export const capabilityDataStruct = defineStruct("__user_cap_data_struct", 12, {
  effective: "u32",
  permitted: "u32",
  inheritable: "u32",
});

/** `struct flock` of fcntl.h on 64-bit platforms. */
export const flockStruct = defineStruct("flock", 32, {
  l_type: "s16",
  l_whence: "s16",
  __pad0: "u32",
  l_start: "s64",
  l_len: "s64",
  l_pid: "s32",
  __pad1: "u32",
});

/** `struct rlimit` on 64-bit platforms. */
export const rlimitStruct = defineStruct("rlimit", 16, { rlim_cur: "u64", rlim_max: "u64" });
