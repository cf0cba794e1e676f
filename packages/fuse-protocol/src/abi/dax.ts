import { defineStruct } from "@supermachine-internal/struct";

// fuse_setupmapping_in.flags
export const FUSE_SETUPMAPPING_FLAG_WRITE = 1 << 0;
export const FUSE_SETUPMAPPING_FLAG_READ = 1 << 1;

export const fuse_setupmapping_in = defineStruct("fuse_setupmapping_in", 40, {
  fh: "u64",
  foffset: "u64",
  len: "u64",
  flags: "u64",
  moffset: "u64",
});
/** Followed by `count` times {@link fuse_removemapping_one}. */
export const fuse_removemapping_in = defineStruct("fuse_removemapping_in", 4, { count: "u32" });
export const fuse_removemapping_one = defineStruct("fuse_removemapping_one", 16, {
  moffset: "u64",
  len: "u64",
});
