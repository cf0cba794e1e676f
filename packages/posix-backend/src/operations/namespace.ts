/** Operations on names: finding, making, moving and removing them. */
import {
  EINVAL,
  ENAMETOOLONG,
  ENFILE,
  ENOENT,
  EPERM,
  EROFS,
  encodeName,
  FUSE_ATTR_SUBMOUNT,
  PATH_MAX,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from "@supermachine/fuse-protocol";
import type { EntryReply, RequestContext } from "@supermachine/fuse-server";
import { StatBuffer } from "../nodes/stat-buffer.js";
import {
  close,
  linkAt,
  mkdirAt,
  mknodAt,
  openAt,
  readlink as readlinkOf,
  renameAt,
  rmdirAt,
  symlinkAt,
  unlinkAt,
} from "../platform/host.js";
import type { Share } from "../share.js";
import { O_PATH } from "../syscalls/constants.js";
import { followLink } from "./follow-link.js";
import { complete, giveLink, isJustMade, maskedMode, modeToMakeWith } from "./new-files.js";

/** Neither success nor an errno. */
const UNDECIDED = 1;

/**
 * Delivers what `share.name` stands for in the directory `parent`, which `parentFd` holds.
 *
 * Lookups come in runs: of names that are absent, of nodes that the client holds (when it asks
 * again after a while), and of new ones. For the first two a single statx(2) does.
 */
export function lookupName(
  share: Share,
  parent: number,
  parentFd: number,
  reply: EntryReply,
): number {
  if (share.expectsNothingNew) {
    const result = lookupHeld(share, parentFd, reply);
    if (result !== UNDECIDED) return result;
  }
  const nodes = share.inodes.size;
  const result = lookupAny(share, parent, parentFd, reply);
  share.expectsNothingNew = share.inodes.size === nodes;
  return result;
}

/** Finds that there is no such name, or that it is a node whose inode is pinned by an fd. */
function lookupHeld(share: Share, parentFd: number, reply: EntryReply): number {
  const failure = share.stat.readName(parentFd, share.name.bytes);
  if (failure < 0) return failure;
  const mayFollow = share.settings.symlinks === "follow";
  if (mayFollow && (share.stat.mode & S_IFMT) === S_IFLNK) return UNDECIDED;
  const nodeid = share.inodes.adoptHeld(share.stat);
  if (nodeid === 0) return UNDECIDED;
  const result = share.deliverNode(nodeid, reply);
  if (share.announcesSubmounts) announceSubmount(share, parentFd, reply);
  return result;
}

function lookupAny(share: Share, parent: number, parentFd: number, reply: EntryReply): number {
  const fd = openAt(parentFd, share.name.bytes, O_PATH);
  if (fd < 0) return fd;
  const failure = share.stat.read(fd);
  if (failure < 0) {
    close(fd);
    return failure;
  }
  if (share.settings.symlinks === "follow" && (share.stat.mode & S_IFMT) === S_IFLNK) {
    return lookupTarget(share, parent, parentFd, fd, reply);
  }
  const result = share.deliver(fd, parent, reply);
  if (result === 0 && share.announcesSubmounts) announceSubmount(share, parentFd, reply);
  return result;
}

const directoryStat = new StatBuffer();

/** Marks a directory, whose attributes `share.stat` holds, on which the host has mounted something. */
function announceSubmount(share: Share, parentFd: number, reply: EntryReply): void {
  const { stat } = share;
  if ((stat.mode & S_IFMT) !== S_IFDIR || directoryStat.read(parentFd) < 0) return;
  const isSame =
    stat.mountId === directoryStat.mountId &&
    stat.deviceMinor === directoryStat.deviceMinor &&
    stat.deviceMajor === directoryStat.deviceMajor;
  if (!isSame) reply.attr.flags |= FUSE_ATTR_SUBMOUNT;
}

/** Delivers the target of the symbolic link `linkFd`, or the link itself where it has none inside. */
function lookupTarget(
  share: Share,
  parent: number,
  parentFd: number,
  linkFd: number,
  reply: EntryReply,
): number {
  const { stat } = share;
  const link = share.inodes.linkOf(stat);
  const fd = followLink(share, parentFd);
  if (fd >= 0) {
    if (stat.read(fd) === 0) {
      close(linkFd);
      if ((stat.mode & S_IFMT) !== S_IFDIR) return share.deliver(fd, 0, reply);
      return share.deliverNode(share.inodes.adoptAlias(fd, stat, link), reply);
    }
    close(fd);
  }
  const failure = stat.read(linkFd);
  if (failure === 0) return share.deliver(linkFd, parent, reply);
  close(linkFd);
  return failure;
}

export function lookup(share: Share, parent: number, name: string, reply: EntryReply): number {
  const directory = share.inodes.fd(parent);
  if (directory < 0) return directory;
  const invalid = share.name.set(name);
  if (invalid < 0) return invalid;
  const result = lookupName(share, parent, directory, reply);
  if (result === -ENOENT && share.settings.negativeTimeoutMs > 0) {
    reply.nodeid = 0;
    reply.entryValidMs = share.settings.negativeTimeoutMs;
    return 0;
  }
  return result;
}

/** The fd of the directory `parent` in which a name is about to change, `share.name` set; or an errno. */
export function changeIn(share: Share, parent: number, name: string): number {
  if (share.settings.readOnly) return -EROFS;
  const directory = share.inodes.fd(parent);
  if (directory < 0) return directory;
  const invalid = share.name.set(name);
  return invalid < 0 ? invalid : directory;
}

/** Delivers the node made `since` then as `share.name`, which is of `type`. */
function deliverNew(
  share: Share,
  ctx: RequestContext,
  parent: number,
  parentFd: number,
  type: number,
  mode: number,
  since: number,
  reply: EntryReply,
): number {
  const { stat } = share;
  const fd = openAt(parentFd, share.name.bytes, O_PATH);
  if (fd < 0) return fd;
  let failure = stat.read(fd);
  if (failure === 0 && isJustMade(share, type, share.caller.hostUid(ctx.uid), since)) {
    failure = complete(share, ctx, fd, parentFd, mode);
  }
  if (failure < 0) {
    close(fd);
    return failure;
  }
  return share.deliver(fd, parent, reply);
}

export function mkdir(
  share: Share,
  ctx: RequestContext,
  parent: number,
  name: string,
  mode: number,
  umask: number,
  reply: EntryReply,
): number {
  const dir = changeIn(share, parent, name);
  if (dir < 0) return dir;
  if (share.inodes.full) return -ENFILE;
  const masked = maskedMode(share, dir, mode, umask);
  const since = Date.now();
  let result = share.caller.assume(ctx, 0);
  if (result === 0) result = mkdirAt(dir, share.name.bytes, modeToMakeWith(share, masked));
  share.caller.restore();
  if (result < 0) return result;
  return deliverNew(share, ctx, parent, dir, S_IFDIR, masked, since, reply);
}

/** A whiteout, as overlayfs makes them, is a character device that nobody can open. */
function isWhiteout(type: number, rdev: number): boolean {
  return type === S_IFCHR && rdev === 0;
}

/** Devices are made only where the client may: on the host they are the host's (CVE-2020-35517). */
export function mknod(
  share: Share,
  ctx: RequestContext,
  parent: number,
  name: string,
  mode: number,
  rdev: number,
  umask: number,
  reply: EntryReply,
): number {
  const dir = changeIn(share, parent, name);
  if (dir < 0) return dir;
  const type = mode & S_IFMT || S_IFREG;
  const isDevice = type === S_IFCHR || type === S_IFBLK;
  if (!isDevice && type !== S_IFREG && type !== S_IFIFO && type !== S_IFSOCK) return -EPERM;
  if (isDevice && !share.allowsDevices && !isWhiteout(type, rdev)) return -EPERM;
  if (share.inodes.full) return -ENFILE;
  const masked = maskedMode(share, dir, mode, umask);
  const bits = type | modeToMakeWith(share, masked);
  const since = Date.now();
  let result = share.caller.assume(ctx, mode, isDevice);
  if (result === 0) result = mknodAt(dir, share.name.bytes, bits, isDevice ? rdev : 0);
  share.caller.restore();
  if (result < 0) return result;
  return deliverNew(share, ctx, parent, dir, type, masked, since, reply);
}

export function symlink(
  share: Share,
  ctx: RequestContext,
  parent: number,
  name: string,
  target: string,
  reply: EntryReply,
): number {
  const dir = changeIn(share, parent, name);
  if (dir < 0) return dir;
  if (share.settings.symlinks === "deny") return -EPERM;
  if (share.inodes.full) return -ENFILE;
  if (target.length === 0) return -ENOENT;
  if (target.length >= PATH_MAX) return -ENAMETOOLONG;
  if (target.includes("\0")) return -EINVAL;
  const targetBytes = Buffer.concat([encodeName(target), Buffer.alloc(1)]);
  const since = Date.now();
  let result = share.caller.assume(ctx, 0);
  if (result === 0) result = symlinkAt(targetBytes, dir, share.name.bytes);
  share.caller.restore();
  if (result < 0) return result;
  giveLink(share, ctx, dir, since);
  return lookupName(share, parent, dir, reply);
}

export function link(
  share: Share,
  nodeid: number,
  newParent: number,
  newName: string,
  reply: EntryReply,
): number {
  const dir = changeIn(share, newParent, newName);
  if (dir < 0) return dir;
  const fd = share.inodes.fd(nodeid);
  if (fd < 0) return fd;
  if (share.settings.symlinks === "deny") return -EPERM;
  if (share.inodes.type(nodeid) === S_IFDIR) return -EPERM;
  const linked = linkAt(share.procFd, fd, dir, share.name.bytes);
  if (linked < 0) return linked;
  const failure = share.stat.read(fd);
  return failure < 0 ? failure : share.deliverAgain(nodeid, newParent, reply);
}

export function readlink(share: Share, nodeid: number, target: Uint8Array): number {
  const fd = share.inodes.fd(nodeid);
  if (fd < 0) return fd;
  return share.inodes.type(nodeid) === S_IFLNK ? readlinkOf(fd, target) : -EINVAL;
}

export function unlink(share: Share, parent: number, name: string): number {
  const dir = changeIn(share, parent, name);
  return dir < 0 ? dir : unlinkAt(dir, share.name.bytes);
}

export function rmdir(share: Share, parent: number, name: string): number {
  const dir = changeIn(share, parent, name);
  return dir < 0 ? dir : rmdirAt(dir, share.name.bytes);
}

/** RENAME_WHITEOUT leaves a new file, which belongs to the caller as any other. */
export function rename(
  share: Share,
  ctx: RequestContext,
  parent: number,
  name: string,
  newParent: number,
  newName: string,
  flags: number,
): number {
  const dir = changeIn(share, parent, name);
  if (dir < 0) return dir;
  const newDir = share.inodes.fd(newParent);
  if (newDir < 0) return newDir;
  const invalid = share.newName.set(newName);
  if (invalid < 0) return invalid;
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) !== 0) return -EINVAL;
  let result = (flags & RENAME_WHITEOUT) === 0 ? 0 : share.caller.assume(ctx, 0, true);
  if (result === 0) {
    result = renameAt(dir, share.name.bytes, newDir, share.newName.bytes, flags);
  }
  share.caller.restore();
  if (result === 0) share.moved(newParent, newDir);
  return result;
}
