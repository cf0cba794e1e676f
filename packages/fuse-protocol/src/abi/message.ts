import { defineStruct } from "@supermachine-internal/struct";

/** Major version of the protocol. */
export const FUSE_KERNEL_VERSION = 7;
/** The newest minor version declared here (Linux 6.18). */
export const FUSE_KERNEL_MINOR_VERSION = 45;
/** The nodeid of the root directory. */
export const FUSE_ROOT_ID = 1;
/** A buffer for requests must have at least this many bytes. */
export const FUSE_MIN_READ_BUFFER = 8192;
/** Set in `unique` of a request that is sent again after FUSE_NOTIFY_RESEND. */
export const FUSE_UNIQUE_RESEND = 1n << 63n;

/** Starts every request. */
export const fuse_in_header = defineStruct("fuse_in_header", 40, {
  len: "u32",
  opcode: "u32",
  unique: "u64",
  nodeid: "u64",
  uid: "u32",
  gid: "u32",
  pid: "u32",
  /** Length of the extensions at the end of the request, in units of 8 bytes. */
  total_extlen: "u16",
  padding: "u16",
});

/** Starts every reply (`error` is 0 or a negated errno) and notification (`error` is its code). */
export const fuse_out_header = defineStruct("fuse_out_header", 16, {
  len: "u32",
  error: "s32",
  unique: "u64",
});

export const fuse_interrupt_in = defineStruct("fuse_interrupt_in", 8, { unique: "u64" });

/** Extension types 0..31 are the number of security contexts in a {@link fuse_secctx_header}. */
export const FUSE_MAX_NR_SECCTX = 31;
/** Extension type of {@link fuse_supp_groups}. */
export const FUSE_EXT_GROUPS = 32;

export const fuse_secctx = defineStruct("fuse_secctx", 8, { size: "u32", padding: "u32" });
export const fuse_secctx_header = defineStruct("fuse_secctx_header", 8, {
  size: "u32",
  nr_secctx: "u32",
});
export const fuse_ext_header = defineStruct("fuse_ext_header", 8, { size: "u32", type: "u32" });
/** Followed by `nr_groups` group ids of 32 bits. */
export const fuse_supp_groups = defineStruct("fuse_supp_groups", 4, { nr_groups: "u32" });
