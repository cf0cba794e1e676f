/** Operations on extended attributes. */
import {
  ENODATA,
  ENOSYS,
  EOPNOTSUPP,
  EPERM,
  ERANGE,
  EROFS,
  FUSE_SETXATTR_ACL_KILL_SGID,
  S_ISGID,
  XATTR_LIST_MAX,
} from "@supermachine/fuse-protocol";
import type { RequestContext } from "@supermachine/fuse-server";
import * as sys from "../platform/host.js";
import type { Share } from "../share.js";
import { isAcl } from "./access-control-list.js";

const S_IALLUGO = 0o7777;

/**
 * The host's name of an attribute, or the errno for one that the client may not have. Lists of access rights
 * are for clients that enforce them. Of what else does not begin with `user.`, `security.capability`
 * would make a file of the guest a privileged program of the host, and `trusted.*` is for the host's root.
 */
function hostName(share: Share, name: string): string | number {
  if (isAcl(name)) return share.settings.posixAcl ? name : -EOPNOTSUPP;
  if (share.xattrMap !== undefined) {
    const mapped = share.xattrMap.toHost(name);
    return typeof mapped === "string" && isAcl(mapped) ? -EOPNOTSUPP : mapped;
  }
  return share.allowsPrivilegedXattrs || name.startsWith("user.") ? name : -EOPNOTSUPP;
}

/** The client's name of an attribute of the host, or undefined for one that it may not have. */
function clientName(share: Share, name: string): string | undefined {
  if (isAcl(name)) return share.settings.posixAcl ? name : undefined;
  if (share.xattrMap !== undefined) return share.xattrMap.toClient(name);
  return share.allowsPrivilegedXattrs || name.startsWith("user.") ? name : undefined;
}

/** As the host's kernel does it, names of the `trusted` class are listed for root alone. */
function isListed(ctx: RequestContext, name: string): boolean {
  return ctx.uid === 0 || !name.startsWith("trusted.");
}

/** `share.name` set to the attribute's name and the fd of the node; or a negated errno. */
function prepare(share: Share, nodeid: number, name: string): number {
  if (!share.settings.xattr) return -ENOSYS;
  const fd = share.inodes.fd(nodeid);
  if (fd < 0) return fd;
  const host = hostName(share, name);
  if (typeof host === "number") return host;
  const invalid = share.name.setAttribute(host);
  return invalid < 0 ? invalid : fd;
}

export function setxattr(
  share: Share,
  nodeid: number,
  name: string,
  value: Uint8Array,
  flags: number,
  setxattrFlags: number,
): number {
  if (share.settings.readOnly) return -EROFS;
  const fd = prepare(share, nodeid, name);
  if (fd < 0) return fd;
  const result = sys.setxattr(fd, share.name.bytes, value, flags);
  if (result < 0 || (setxattrFlags & FUSE_SETXATTR_ACL_KILL_SGID) === 0) return result;
  const failure = share.stat.read(fd);
  if (failure < 0) return failure;
  const { mode } = share.stat;
  if ((mode & S_ISGID) === 0) return 0;
  return sys.chmodLink(share.procFd, fd, mode & S_IALLUGO & ~S_ISGID);
}

export function getxattr(share: Share, nodeid: number, name: string, value: Uint8Array): number {
  const fd = prepare(share, nodeid, name);
  // To read one that it may not have, and that is not listed, is as if it were not there.
  if (fd === -EPERM) return -ENODATA;
  return fd < 0 ? fd : sys.getxattr(fd, share.name.bytes, value);
}

export function removexattr(share: Share, nodeid: number, name: string): number {
  if (share.settings.readOnly) return -EROFS;
  const fd = prepare(share, nodeid, name);
  return fd < 0 ? fd : sys.removexattr(fd, share.name.bytes);
}

const everyName = Buffer.alloc(XATTR_LIST_MAX);

export function listxattr(
  share: Share,
  ctx: RequestContext,
  nodeid: number,
  list: Uint8Array,
): number {
  if (!share.settings.xattr) return -ENOSYS;
  const fd = share.inodes.fd(nodeid);
  if (fd < 0) return fd;
  const length = sys.listxattr(fd, everyName);
  if (length < 0) return length;
  let shown = 0;
  for (let start = 0; start < length; ) {
    const end = everyName.indexOf(0, start);
    const name = clientName(share, everyName.toString("latin1", start, end));
    start = end + 1;
    if (name === undefined || !isListed(ctx, name)) continue;
    if (list.length > 0) {
      if (shown + name.length + 1 > list.length) return -ERANGE;
      Buffer.from(list.buffer, list.byteOffset, list.length).write(name, shown, "latin1");
      list[shown + name.length] = 0;
    }
    shown += name.length + 1;
  }
  return shown;
}

/** Drops the capabilities of a file that changes, as the host's kernel would if it knew them as such. */
export function dropMappedCapability(share: Share, fd: number): void {
  const name = share.xattrMap?.toHost("security.capability");
  if (typeof name === "string") sys.removexattr(fd, Buffer.from(`${name}\0`, "latin1"));
}
