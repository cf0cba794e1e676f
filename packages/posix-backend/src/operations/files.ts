/** Operations on regular files: opening, reading, writing. */
import {
  EACCES,
  EEXIST,
  EINVAL,
  EISDIR,
  ELOOP,
  ENFILE,
  EROFS,
  FOPEN_DIRECT_IO,
  FOPEN_KEEP_CACHE,
  FUSE_OPEN_KILL_SUIDGID,
  O_ACCMODE,
  O_APPEND,
  O_CREAT,
  O_DSYNC,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  O_SYNC,
  O_TRUNC,
  O_WRONLY,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  S_ISUID,
} from "@supermachine/fuse-protocol";
import type { EntryReply, OpenReply, RequestContext } from "@supermachine/fuse-server";
import type { CachePolicy } from "../options.js";
import * as sys from "../platform/host.js";
import type { Share } from "../share.js";
import { O_TMPFILE } from "../syscalls/constants.js";
import { changeIn, lookupName } from "./namespace.js";
import { complete, maskedMode, modeToMakeWith } from "./new-files.js";
import { dropMappedCapability } from "./xattrs.js";

const S_IXGRP = 0o010;
const S_IALLUGO = 0o7777;

/**
 * The flags with which the host opens a file that the client opens with `flags`. All others stay with the
 * client: O_DIRECT needs aligned buffers, O_NONBLOCK and O_NOATIME mean nothing here, and O_CREAT,
 * O_TMPFILE or O_PATH would change what is opened.
 */
function hostFlags(share: Share, flags: number): number {
  let host = flags & (O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC);
  if (share.writebackCache) {
    if ((host & O_ACCMODE) === O_WRONLY) host = (host & ~O_ACCMODE) | O_RDWR;
    host &= ~O_APPEND;
  }
  return host;
}

function isWritable(flags: number): boolean {
  return (flags & O_ACCMODE) !== O_RDONLY;
}

/**
 * The mode in `share.stat` without the set-id bits that a change by a caller without CAP_FSETID takes away.
 * Where the group may not execute a file, members of the group keep its set-group-id bit.
 */
export function modeWithoutSetId(share: Share, ctx: RequestContext): number {
  const { mode, gid } = share.stat;
  if ((mode & (S_ISUID | S_ISGID)) === 0 || (mode & S_IFMT) !== S_IFREG) return mode;
  const losesGroup = (mode & S_IXGRP) !== 0 || !share.caller.isMember(ctx, gid);
  return mode & ~S_ISUID & (losesGroup ? ~S_ISGID : ~0);
}

/** Clears the set-id bits of an open file, as the kernel does for a writer without CAP_FSETID. */
export function dropSetIdBits(share: Share, ctx: RequestContext, fd: number): number {
  const failure = share.stat.read(fd);
  if (failure < 0) return failure;
  const mode = modeWithoutSetId(share, ctx);
  return mode === share.stat.mode ? 0 : sys.fchmod(fd, mode & S_IALLUGO);
}

/**
 * Opens an inode for reading and writing. Only regular files are ever opened, and the type is that of the
 * held inode, not of a name that may lead elsewhere by now (CVE-2020-35517, CVE-2023-2861).
 */
export function open(
  share: Share,
  ctx: RequestContext,
  nodeid: number,
  flags: number,
  openFlags: number,
  reply: OpenReply,
): number {
  const inode = share.inodes.fd(nodeid);
  if (inode < 0) return inode;
  const type = share.inodes.type(nodeid);
  if (type !== S_IFREG) return type === S_IFDIR ? -EISDIR : type === S_IFLNK ? -ELOOP : -EACCES;
  const host = hostFlags(share, flags);
  if (share.settings.readOnly && (isWritable(host) || (host & O_TRUNC) !== 0)) return -EROFS;
  if (share.handles.full) return -ENFILE;
  const fd = share.openFile(nodeid, inode, host);
  if (fd < 0) return fd;
  if ((host & O_TRUNC) !== 0) {
    if ((openFlags & FUSE_OPEN_KILL_SUIDGID) !== 0) dropSetIdBits(share, ctx, fd);
    if (share.mapsCapabilities) dropMappedCapability(share, fd);
  }
  deliverHandle(share, fd, nodeid, host, reply);
  return 0;
}

const openingFlags: Record<CachePolicy, number> = {
  none: 0,
  auto: 0,
  metadata: FOPEN_DIRECT_IO,
  always: FOPEN_KEEP_CACHE,
};

/** @param flags - With which `fd` was opened. */
function deliverHandle(
  share: Share,
  fd: number,
  nodeid: number,
  flags: number,
  reply: OpenReply,
): void {
  reply.fh = share.handles.addFile(fd, nodeid, flags);
  if (share.passthrough) reply.passthroughFd = fd;
  reply.flags = openingFlags[share.settings.cache];
}

/**
 * Delivers a file that is new and open as `fd` with `flags`, and takes over `fd`.
 *
 * @param parent - The directory in which it is `share.name`; 0 for a file without a name.
 * @param parentFd - Holds the directory in which it was made.
 */
function deliverCreated(
  share: Share,
  ctx: RequestContext,
  fd: number,
  parent: number,
  parentFd: number,
  mode: number,
  flags: number,
  reply: EntryReply,
  opened: OpenReply,
): number {
  let failure = share.stat.read(fd);
  if (failure === 0) failure = complete(share, ctx, fd, parentFd, mode);
  const name = parent === 0 ? undefined : share.name.bytes;
  const handle = failure < 0 ? failure : sys.openMade(share.procFd, fd, parentFd, name);
  const result = handle < 0 ? handle : share.deliver(handle, parent, reply);
  if (result < 0) sys.close(fd);
  else deliverHandle(share, fd, reply.nodeid, flags, opened);
  return result;
}

export function create(
  share: Share,
  ctx: RequestContext,
  parent: number,
  name: string,
  mode: number,
  umask: number,
  flags: number,
  reply: EntryReply,
  opened: OpenReply,
  openFlags: number,
): number {
  const dir = changeIn(share, parent, name);
  if (dir < 0) return dir;
  if (share.inodes.full || share.handles.full) return -ENFILE;
  const host = hostFlags(share, flags) & ~O_TRUNC;
  const masked = maskedMode(share, dir, mode, umask);
  let fd = share.caller.assume(ctx, mode);
  // O_EXCL always: what exists already may be a device or a FIFO, which must not be opened.
  if (fd === 0) {
    const bits = modeToMakeWith(share, masked);
    fd = sys.openAt(dir, share.name.bytes, host | O_CREAT | O_EXCL, bits);
  }
  share.caller.restore();
  if (fd >= 0) return deliverCreated(share, ctx, fd, parent, dir, masked, host, reply, opened);
  if (fd !== -EEXIST || (flags & O_EXCL) !== 0) return fd;

  const found = lookupName(share, parent, dir, reply);
  if (found < 0) return found;
  const result = open(share, ctx, reply.nodeid, flags, openFlags, opened);
  if (result < 0) share.inodes.forget(reply.nodeid, 1);
  return result;
}

export function tmpfile(
  share: Share,
  ctx: RequestContext,
  parent: number,
  mode: number,
  umask: number,
  flags: number,
  reply: EntryReply,
  opened: OpenReply,
): number {
  if (share.settings.readOnly) return -EROFS;
  const directory = share.inodes.fd(parent);
  if (directory < 0) return directory;
  if (share.inodes.full || share.handles.full) return -ENFILE;
  const host = hostFlags(share, flags) & ~O_TRUNC;
  if (!isWritable(host)) return -EINVAL;
  const masked = maskedMode(share, directory, mode, umask);
  let fd = share.caller.assume(ctx, mode);
  if (fd === 0) {
    fd = sys.openAt(directory, ".", host | O_TMPFILE | (flags & O_EXCL), masked & S_IALLUGO);
  }
  share.caller.restore();
  return fd < 0 ? fd : deliverCreated(share, ctx, fd, 0, directory, masked, host, reply, opened);
}
