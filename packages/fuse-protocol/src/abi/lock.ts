import { defineStruct } from "@supermachine-internal/struct";

/** The request is a flock(2), not a POSIX record lock. */
export const FUSE_LK_FLOCK = 1 << 0;

export const fuse_file_lock = defineStruct("fuse_file_lock", 24, {
  start: "u64",
  end: "u64",
  type: "u32",
  pid: "u32",
});
export const fuse_lk_in = defineStruct("fuse_lk_in", 48, {
  fh: "u64",
  owner: "u64",
  lk: { bytes: fuse_file_lock.size },
  lk_flags: "u32",
  padding: "u32",
});
export const fuse_lk_out = defineStruct("fuse_lk_out", 24, { lk: { bytes: fuse_file_lock.size } });
