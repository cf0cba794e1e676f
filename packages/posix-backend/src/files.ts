/** Operations on regular files: opening, reading, writing. */
import {
  EACCES,
  EBADF,
  EEXIST,
  EINVAL,
  EISDIR,
  ELOOP,
  ENFILE,
  EROFS,
  ESTALE,
  FOPEN_KEEP_CACHE,
  FUSE_OPEN_KILL_SUIDGID,
  FUSE_WRITE_KILL_SUIDGID,
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
  S_IFREG,
  S_ISGID,
  S_ISUID,
  SEEK_DATA,
  SEEK_HOLE,
} from "@supermachine/fuse-protocol";
import type { EntryReply, OpenReply, RequestContext } from "@supermachine/fuse-server";
import type { Inode } from "./inode-table.js";
import { readInto, writeFrom } from "./io-vectors.js";
import { bitsLostToUmask, changeIn, lookupName } from "./namespace.js";
import type { Share } from "./share.js";
import { O_PATH, O_TMPFILE } from "./syscalls/constants.js";
import * as sys from "./syscalls/linux.js";

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

/** Clears the set-id bits of an open file, as the kernel does for a writer without CAP_FSETID. */
export function dropSetIdBits(share: Share, fd: number): number {
  const failure = share.stat.read(fd);
  if (failure < 0) return failure;
  const { mode } = share.stat;
  let cleared = mode & ~S_ISUID;
  if ((mode & S_IXGRP) !== 0) cleared &= ~S_ISGID;
  return cleared === mode ? 0 : sys.fchmod(fd, cleared & S_IALLUGO);
}

/**
 * Opens an inode for reading and writing. Only regular files are ever opened, and the type is that of the
 * held inode, not of a name that may lead elsewhere by now (CVE-2020-35517, CVE-2023-2861).
 */
function openInode(
  share: Share,
  inode: Inode,
  flags: number,
  openFlags: number,
  reply: OpenReply,
): number {
  if (inode.type !== S_IFREG) {
    return inode.type === S_IFDIR ? -EISDIR : inode.type === S_IFLNK ? -ELOOP : -EACCES;
  }
  const host = hostFlags(share, flags);
  if (share.settings.readOnly && (isWritable(host) || (host & O_TRUNC) !== 0)) return -EROFS;
  if (share.handles.full) return -ENFILE;
  const fd = sys.reopen(share.procFd, inode.fd, host);
  if (fd < 0) return fd;
  if ((host & O_TRUNC) !== 0 && (openFlags & FUSE_OPEN_KILL_SUIDGID) !== 0) {
    dropSetIdBits(share, fd);
  }
  deliverHandle(share, fd, isWritable(host), reply);
  return 0;
}

function deliverHandle(share: Share, fd: number, writable: boolean, reply: OpenReply): void {
  reply.fh = share.handles.addFile(fd, writable);
  reply.flags = share.settings.cache === "always" ? FOPEN_KEEP_CACHE : 0;
}

export function open(
  share: Share,
  nodeid: number,
  flags: number,
  openFlags: number,
  reply: OpenReply,
): number {
  const inode = share.inodes.get(nodeid);
  return inode === undefined ? -ESTALE : openInode(share, inode, flags, openFlags, reply);
}

/** Delivers a file that is new and open as `fd`, and takes over `fd`. */
function deliverCreated(
  share: Share,
  fd: number,
  mode: number,
  writable: boolean,
  reply: EntryReply,
  opened: OpenReply,
): number {
  let failure = share.stat.read(fd);
  const lost = bitsLostToUmask(share, mode);
  if (failure === 0 && lost !== 0) {
    failure = sys.fchmod(fd, (share.stat.mode & S_IALLUGO) | lost);
    if (failure === 0) failure = share.stat.read(fd);
  }
  const handle = failure < 0 ? failure : sys.reopen(share.procFd, fd, O_PATH);
  const result = handle < 0 ? handle : share.deliver(handle, reply);
  if (result < 0) sys.close(fd);
  else deliverHandle(share, fd, writable, opened);
  return result;
}

export function create(
  share: Share,
  ctx: RequestContext,
  parent: number,
  name: string,
  mode: number,
  flags: number,
  reply: EntryReply,
  opened: OpenReply,
  openFlags: number,
): number {
  const dir = changeIn(share, parent, name);
  if (dir < 0) return dir;
  if (share.inodes.full || share.handles.full) return -ENFILE;
  const host = hostFlags(share, flags) & ~O_TRUNC;
  let fd = share.caller.assume(ctx, mode);
  // O_EXCL always: what exists already may be a device or a FIFO, which must not be opened.
  if (fd === 0) {
    fd = sys.openAt(dir, share.name.bytes, host | O_CREAT | O_EXCL, mode & S_IALLUGO);
  }
  share.caller.restore();
  if (fd >= 0) return deliverCreated(share, fd, mode, isWritable(host), reply, opened);
  if (fd !== -EEXIST || (flags & O_EXCL) !== 0) return fd;

  const found = lookupName(share, dir, reply);
  if (found < 0) return found;
  const result = open(share, reply.nodeid, flags, openFlags, opened);
  if (result < 0) share.inodes.forget(reply.nodeid, 1);
  return result;
}

export function tmpfile(
  share: Share,
  ctx: RequestContext,
  parent: number,
  mode: number,
  flags: number,
  reply: EntryReply,
  opened: OpenReply,
): number {
  if (share.settings.readOnly) return -EROFS;
  const directory = share.inodes.get(parent);
  if (directory === undefined) return -ESTALE;
  if (share.inodes.full || share.handles.full) return -ENFILE;
  const host = hostFlags(share, flags) & ~O_TRUNC;
  if (!isWritable(host)) return -EINVAL;
  let fd = share.caller.assume(ctx, mode);
  if (fd === 0) {
    fd = sys.openAt(directory.fd, ".", host | O_TMPFILE | (flags & O_EXCL), mode & S_IALLUGO);
  }
  share.caller.restore();
  return fd < 0 ? fd : deliverCreated(share, fd, mode, true, reply, opened);
}

export function read(
  share: Share,
  fh: number,
  offset: number,
  buffers: readonly Uint8Array[],
): number {
  const handle = share.handles.file(fh);
  return handle === undefined ? -EBADF : readInto(handle.fd, offset, buffers);
}

export function write(
  share: Share,
  fh: number,
  offset: number,
  buffers: readonly Uint8Array[],
  writeFlags: number,
): number {
  const handle = share.handles.file(fh);
  if (handle === undefined || !handle.writable) return -EBADF;
  // The host's kernel drops security.capability on any write, but set-id bits not when root writes.
  if ((writeFlags & FUSE_WRITE_KILL_SUIDGID) !== 0) dropSetIdBits(share, handle.fd);
  return writeFrom(handle.fd, offset, buffers);
}

export function fsync(share: Share, fh: number, dataOnly: boolean): number {
  const handle = share.handles.file(fh);
  if (handle === undefined) return -EBADF;
  return dataOnly ? sys.fdatasync(handle.fd) : sys.fsync(handle.fd);
}

export function fallocate(
  share: Share,
  ctx: RequestContext,
  fh: number,
  mode: number,
  offset: number,
  length: number,
): number {
  const handle = share.handles.file(fh);
  if (handle === undefined || !handle.writable) return -EBADF;
  if (ctx.uid !== 0) dropSetIdBits(share, handle.fd);
  return sys.fallocate(handle.fd, mode, offset, length);
}

export function lseek(share: Share, fh: number, offset: number, whence: number): number {
  const handle = share.handles.file(fh);
  if (handle === undefined) return -EBADF;
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return -EINVAL;
  return sys.lseek(handle.fd, offset, whence);
}

export function copyFileRange(
  share: Share,
  ctx: RequestContext,
  fh: number,
  offset: number,
  fhOut: number,
  offsetOut: number,
  length: number,
): number {
  const from = share.handles.file(fh);
  const to = share.handles.file(fhOut);
  if (from === undefined || to === undefined || !to.writable) return -EBADF;
  if (ctx.uid !== 0) dropSetIdBits(share, to.fd);
  return sys.copyFileRange(from.fd, offset, to.fd, offsetOut, length);
}
