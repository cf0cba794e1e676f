import { defineStruct } from "@supermachine-internal/struct";

// Notification codes, in fuse_out_header.error of a message whose unique is 0.
export const FUSE_NOTIFY_POLL = 1;
export const FUSE_NOTIFY_INVAL_INODE = 2;
export const FUSE_NOTIFY_INVAL_ENTRY = 3;
export const FUSE_NOTIFY_STORE = 4;
export const FUSE_NOTIFY_RETRIEVE = 5;
export const FUSE_NOTIFY_DELETE = 6;
export const FUSE_NOTIFY_RESEND = 7;
export const FUSE_NOTIFY_INC_EPOCH = 8;
export const FUSE_NOTIFY_PRUNE = 9;

/** In `fuse_notify_inval_entry_out.flags`: let the entry expire instead of dropping it. */
export const FUSE_EXPIRE_ONLY = 1 << 0;

export const fuse_notify_poll_wakeup_out = defineStruct("fuse_notify_poll_wakeup_out", 8, {
  kh: "u64",
});
export const fuse_notify_inval_inode_out = defineStruct("fuse_notify_inval_inode_out", 24, {
  ino: "u64",
  off: "s64",
  len: "s64",
});
/** Followed by the name and a NUL. */
export const fuse_notify_inval_entry_out = defineStruct("fuse_notify_inval_entry_out", 16, {
  parent: "u64",
  namelen: "u32",
  flags: "u32",
});
/** Followed by the name and a NUL. */
export const fuse_notify_delete_out = defineStruct("fuse_notify_delete_out", 24, {
  parent: "u64",
  child: "u64",
  namelen: "u32",
  padding: "u32",
});
/** Followed by `size` bytes of data. */
export const fuse_notify_store_out = defineStruct("fuse_notify_store_out", 24, {
  nodeid: "u64",
  offset: "u64",
  size: "u32",
  padding: "u32",
});
export const fuse_notify_retrieve_out = defineStruct("fuse_notify_retrieve_out", 32, {
  notify_unique: "u64",
  nodeid: "u64",
  offset: "u64",
  size: "u32",
  padding: "u32",
});
/** Has the size of `fuse_write_in`. */
export const fuse_notify_retrieve_in = defineStruct("fuse_notify_retrieve_in", 40, {
  dummy1: "u64",
  offset: "u64",
  size: "u32",
  dummy2: "u32",
  dummy3: "u64",
  dummy4: "u64",
});
/** Followed by `count` nodeids. */
export const fuse_notify_prune_out = defineStruct("fuse_notify_prune_out", 16, {
  count: "u32",
  padding: "u32",
  spare: "u64",
});
