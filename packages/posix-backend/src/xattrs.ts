/** Operations on extended attributes. */
import { EOPNOTSUPP, ERANGE, EROFS, XATTR_LIST_MAX } from "@supermachine/fuse-protocol";
import type { Share } from "./share.js";
import * as sys from "./syscalls/linux.js";

/**
 * Without `privilegedXattrs`, only `user.*` exists: `security.capability` would make a file of the guest
 * a privileged program of the host, and `trusted.*` belongs to the host's administrator.
 */
function isVisible(share: Share, name: string): boolean {
  return share.settings.privilegedXattrs === true || name.startsWith("user.");
}

/** `share.name` set to the attribute's name and the fd of the node; or a negated errno. */
function prepare(share: Share, nodeid: number, name: string): number {
  const fd = share.inodes.fd(nodeid);
  if (fd < 0) return fd;
  if (!isVisible(share, name)) return -EOPNOTSUPP;
  const invalid = share.name.setAttribute(name);
  return invalid < 0 ? invalid : fd;
}

export function setxattr(
  share: Share,
  nodeid: number,
  name: string,
  value: Uint8Array,
  flags: number,
): number {
  if (share.settings.readOnly) return -EROFS;
  const fd = prepare(share, nodeid, name);
  return fd < 0 ? fd : sys.setxattr(fd, share.name.bytes, value, flags);
}

export function getxattr(share: Share, nodeid: number, name: string, value: Uint8Array): number {
  const fd = prepare(share, nodeid, name);
  return fd < 0 ? fd : sys.getxattr(fd, share.name.bytes, value);
}

export function removexattr(share: Share, nodeid: number, name: string): number {
  if (share.settings.readOnly) return -EROFS;
  const fd = prepare(share, nodeid, name);
  return fd < 0 ? fd : sys.removexattr(fd, share.name.bytes);
}

const everyName = Buffer.alloc(XATTR_LIST_MAX);

export function listxattr(share: Share, nodeid: number, list: Uint8Array): number {
  const fd = share.inodes.fd(nodeid);
  if (fd < 0) return fd;
  if (share.settings.privilegedXattrs) return sys.listxattr(fd, list);
  const length = sys.listxattr(fd, everyName);
  if (length < 0) return length;
  let visible = 0;
  for (let start = 0; start < length; ) {
    const end = everyName.indexOf(0, start) + 1;
    if (isVisible(share, everyName.toString("latin1", start, end))) {
      if (list.length > 0) {
        if (visible + end - start > list.length) return -ERANGE;
        list.set(everyName.subarray(start, end), visible);
      }
      visible += end - start;
    }
    start = end;
  }
  return visible;
}
