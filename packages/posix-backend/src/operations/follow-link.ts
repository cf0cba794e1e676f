import { EAGAIN, ELOOP, PATH_MAX } from "@supermachine/fuse-protocol";
import { readMagicLink, resolveAt } from "../platform/host.js";
import type { Share } from "../share.js";
import { RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS } from "../syscalls/constants.js";

const ATTEMPTS = 8;
const dot = Buffer.from(".");
const slash = Buffer.from("/");
const scratch = Buffer.alloc(PATH_MAX);

/** The present path of what `fd` holds; undefined when it has none that fits. */
function pathOf(share: Share, fd: number): Buffer | undefined {
  const length = readMagicLink(share.procFd, fd, scratch);
  return length < 0 || length >= PATH_MAX ? undefined : Buffer.from(scratch.subarray(0, length));
}

/** The path of the directory `fd` from the root, starting with "/" unless empty. */
function pathBelowRoot(share: Share, fd: number): Buffer | undefined {
  const root = pathOf(share, share.inodes.rootFd);
  const path = pathOf(share, fd);
  if (root === undefined || path === undefined) return undefined;
  if (root.length === 1) return path;
  const inside =
    path.subarray(0, root.length).equals(root) &&
    (path.length === root.length || path[root.length] === slash[0]);
  return inside ? path.subarray(root.length) : undefined;
}

/**
 * An O_PATH handle of what the symbolic link `share.name` in the directory `parentFd` leads to, if that is
 * inside the root; else a negated errno.
 *
 * A link may climb with `..` from where it is, so the kernel must resolve it from the root: by the path
 * that the directory has at this moment. Should the directory move meanwhile, the answer may be out of
 * date, but never outside: RESOLVE_BENEATH holds for the whole walk, whatever the path says.
 */
export function followLink(share: Share, parentFd: number): number {
  const directory = pathBelowRoot(share, parentFd);
  if (directory === undefined) return -ELOOP;
  const name = share.name.bytes;
  const path = Buffer.concat([dot, directory, slash, name.subarray(0, name.indexOf(0) + 1)]);
  for (let attempt = 1; ; attempt++) {
    const fd = resolveAt(share.inodes.rootFd, path, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
    // EAGAIN: a rename or mount elsewhere kept the kernel from being sure; see openat2(2).
    if (fd !== -EAGAIN || attempt === ATTEMPTS) return fd;
  }
}
