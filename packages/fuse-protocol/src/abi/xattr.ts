import { defineStruct } from "@supermachine-internal/struct";

/** Clear the set-group-id bit when `system.posix_acl_access` is set. */
export const FUSE_SETXATTR_ACL_KILL_SGID = 1 << 0;
/** Without FUSE_SETXATTR_EXT, {@link fuse_setxattr_in} ends after `flags`. */
export const FUSE_COMPAT_SETXATTR_IN_SIZE = 8;

/** Followed by the name, a NUL and `size` bytes of value. */
export const fuse_setxattr_in = defineStruct("fuse_setxattr_in", 16, {
  size: "u32",
  flags: "u32",
  setxattr_flags: "u32",
  padding: "u32",
});
/** `size` 0 asks for the length only. */
export const fuse_getxattr_in = defineStruct("fuse_getxattr_in", 8, {
  size: "u32",
  padding: "u32",
});
export const fuse_getxattr_out = defineStruct("fuse_getxattr_out", 8, {
  size: "u32",
  padding: "u32",
});
