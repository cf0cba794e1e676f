/**
 * POSIX access control lists, which Linux keeps in two extended attributes (acl(5)). The host's kernel applies
 * them; here is only what it leaves to who makes a file for someone else.
 */
import { getxattr } from "../platform/host.js";

export const ACCESS_ACL = "system.posix_acl_access";
export const DEFAULT_ACL = "system.posix_acl_default";

const defaultAcl = Buffer.from(`${DEFAULT_ACL}\0`);
const nothing = new Uint8Array(0);

/** Whether new files in the directory that `fd` holds get their permissions from a list of it. */
export function hasDefaultAcl(fd: number): boolean {
  return getxattr(fd, defaultAcl, nothing) > 0;
}

export function isAcl(name: string): boolean {
  return name === ACCESS_ACL || name === DEFAULT_ACL;
}
