import { defineStruct } from "@supermachine-internal/struct";
import { fuse_entry_out } from "./node.js";

export const FUSE_COMPAT_MKNOD_IN_SIZE = 8;
export const fuse_mknod_in = defineStruct("fuse_mknod_in", 16, {
  mode: "u32",
  rdev: "u32",
  umask: "u32",
  padding: "u32",
});
export const fuse_mkdir_in = defineStruct("fuse_mkdir_in", 8, { mode: "u32", umask: "u32" });
export const fuse_rename_in = defineStruct("fuse_rename_in", 8, { newdir: "u64" });
export const fuse_rename2_in = defineStruct("fuse_rename2_in", 16, {
  newdir: "u64",
  flags: "u32",
  padding: "u32",
});
export const fuse_link_in = defineStruct("fuse_link_in", 8, { oldnodeid: "u64" });

/** Followed by `namelen` bytes of name and padding to a multiple of 8. */
export const fuse_dirent = defineStruct("fuse_dirent", 24, {
  ino: "u64",
  off: "u64",
  namelen: "u32",
  type: "u32",
});
/** A READDIRPLUS record: the result of a lookup, then the name. */
export const fuse_direntplus = defineStruct("fuse_direntplus", 152, {
  entry_out: { bytes: fuse_entry_out.size },
  dirent: { bytes: fuse_dirent.size },
});

/** Rounds up to the 8-byte alignment of directory records and extensions (`FUSE_REC_ALIGN`). */
export function alignRecord(length: number): number {
  return Math.ceil(length / 8) * 8;
}
