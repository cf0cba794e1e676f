/** Operations on the attributes of nodes and of the file system. */
import {
  EACCES,
  EBADF,
  EINVAL,
  EPERM,
  EROFS,
  ESTALE,
  FATTR_ATIME,
  FATTR_ATIME_NOW,
  FATTR_CTIME,
  FATTR_GID,
  FATTR_KILL_SUIDGID,
  FATTR_MODE,
  FATTR_MTIME,
  FATTR_MTIME_NOW,
  FATTR_SIZE,
  FATTR_UID,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
} from "@supermachine/fuse-protocol";
import type {
  AttrReply,
  RequestContext,
  Result,
  SetattrRequest,
  StatfsReply,
  StatxReply,
} from "@supermachine/fuse-server";
import * as sys from "../platform/host.js";
import type { Share } from "../share.js";
import { O_DIRECTORY, UTIME_NOW, UTIME_OMIT } from "../syscalls/constants.js";
import { statfsStruct, timespecStruct } from "../syscalls/structs.js";
import { dropSetIdBits, modeWithoutSetId } from "./files.js";
import { dropMappedCapability } from "./xattrs.js";

const NO_ID = 0xffff_ffff;
const S_IALLUGO = 0o7777;
const O_WRONLY = 1;
const X_OK = 1;
const W_OK = 2;

/** The fd to ask about a node: the open file's, which works when a name is gone, or the handle's. */
function fdOf(share: Share, nodeid: number, fh: number | undefined): number {
  const open = fh === undefined ? -EBADF : share.handles.fd(fh);
  return open < 0 ? share.inodes.fd(nodeid) : open;
}

export function getattr(
  share: Share,
  nodeid: number,
  fh: number | undefined,
  reply: AttrReply,
): number {
  const fd = fdOf(share, nodeid, fh);
  return fd < 0 ? fd : share.describe(fd, reply);
}

export function statx(
  share: Share,
  nodeid: number,
  fh: number | undefined,
  reply: StatxReply,
): number {
  const fd = fdOf(share, nodeid, fh);
  const failure = fd < 0 ? fd : share.stat.read(fd);
  if (failure < 0) return failure;
  reply.attrValidMs = share.attrValidMs;
  share.stat.copyToStatx(reply);
  share.toClientIds(reply);
  return 0;
}

/**
 * Owner before mode, since a change of owner clears the set-id bits that the mode may set, and times
 * last, since a change of size sets them.
 */
export function setattr(
  share: Share,
  ctx: RequestContext,
  nodeid: number,
  fh: number | undefined,
  request: SetattrRequest,
  reply: AttrReply,
): number {
  if (share.settings.readOnly) return -EROFS;
  const fd = share.inodes.fd(nodeid);
  if (fd < 0) return fd;
  const { valid } = request;
  let result = 0;
  if ((valid & (FATTR_UID | FATTR_GID)) !== 0) result = changeOwner(share, fd, request);
  // With the writeback cache the client gives its own time of change, which the host sets anyway.
  else if ((valid & ~FATTR_CTIME) === 0) result = changeNothing(share, ctx, nodeid, fd);
  if (result === 0 && (valid & FATTR_MODE) !== 0) {
    result = sys.chmodLink(share.procFd, fd, request.mode & S_IALLUGO);
  }
  if (result === 0 && (valid & FATTR_SIZE) !== 0) {
    result = resize(share, ctx, nodeid, fh, request.size, (valid & FATTR_KILL_SUIDGID) !== 0);
  }
  const times = FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW;
  if (result === 0 && (valid & times) !== 0) result = setTimes(fd, request);
  return result < 0 ? result : share.describe(fd, reply);
}

function changeOwner(share: Share, fd: number, request: SetattrRequest): number {
  const { valid } = request;
  const uid = valid & FATTR_UID ? share.caller.hostUid(request.uid) : NO_ID;
  const gid = valid & FATTR_GID ? share.caller.hostGid(request.gid) : NO_ID;
  if (uid < 0 || gid < 0) return -EPERM;
  const result = sys.chown(fd, uid, gid);
  if (result === 0 && share.mapsCapabilities) dropMappedCapability(share, fd);
  return result;
}

/**
 * Linux asks for no change at all in two cases, and both set the time of change and clear set-id bits. One is
 * chown(2) with two times -1, which anybody may do where there are no such bits to clear. The other comes
 * before a write of whoever may write to the file: where that is passed through, there is no WRITE to do it.
 */
function changeNothing(share: Share, ctx: RequestContext, nodeid: number, fd: number): number {
  const failure = share.stat.read(fd);
  if (failure < 0) return failure;
  const { mode, uid } = share.stat;
  const kept = ctx.uid === 0 ? mode : modeWithoutSetId(share, ctx);
  const isOwner = ctx.uid === 0 || share.caller.hostUid(ctx.uid) === uid;
  if (kept !== mode && !isOwner && !share.handles.isWritten(nodeid)) return -EPERM;
  const result = sys.chown(fd, NO_ID, NO_ID);
  if (result < 0 || kept === mode) return result;
  return sys.chmodLink(share.procFd, fd, kept & S_IALLUGO);
}

function resize(
  share: Share,
  ctx: RequestContext,
  nodeid: number,
  fh: number | undefined,
  size: number,
  dropSetId: boolean,
): number {
  if (fh !== undefined) {
    const open = share.handles.writableFd(fh);
    if (open < 0) return open;
    return truncate(share, ctx, open, size, dropSetId);
  }
  if (share.inodes.type(nodeid) !== S_IFREG) return -EINVAL;
  const inode = share.inodes.fd(nodeid);
  if (inode < 0) return inode;
  const fd = share.openFile(nodeid, inode, O_WRONLY);
  if (fd < 0) return fd;
  const result = truncate(share, ctx, fd, size, dropSetId);
  sys.close(fd);
  return result;
}

function truncate(
  share: Share,
  ctx: RequestContext,
  fd: number,
  size: number,
  dropSetId: boolean,
): number {
  const result = sys.ftruncate(fd, size);
  if (result < 0) return result;
  if (share.mapsCapabilities) dropMappedCapability(share, fd);
  return dropSetId ? dropSetIdBits(share, ctx, fd) : 0;
}

const timesBytes = new Uint8Array(2 * timespecStruct.size);
const timesView = new DataView(timesBytes.buffer);

function putTime(index: number, seconds: number, nanoseconds: number): void {
  const at = index * timespecStruct.size;
  const secondsAt = at + timespecStruct.offsets.tv_sec;
  const nanosecondsAt = at + timespecStruct.offsets.tv_nsec;
  timesView.setUint32(secondsAt, seconds >>> 0, true);
  timesView.setInt32(secondsAt + 4, Math.floor(seconds / 0x1_0000_0000), true);
  timesView.setUint32(nanosecondsAt, nanoseconds, true);
}

function setTimes(fd: number, request: SetattrRequest): number {
  const { valid } = request;
  if ((valid & FATTR_ATIME_NOW) !== 0) putTime(0, 0, UTIME_NOW);
  else if ((valid & FATTR_ATIME) !== 0) putTime(0, request.atime, request.atimensec);
  else putTime(0, 0, UTIME_OMIT);
  if ((valid & FATTR_MTIME_NOW) !== 0) putTime(1, 0, UTIME_NOW);
  else if ((valid & FATTR_MTIME) !== 0) putTime(1, request.mtime, request.mtimensec);
  else putTime(1, 0, UTIME_OMIT);
  return sys.utimens(fd, timesBytes);
}

const statfsBytes = new Uint8Array(statfsStruct.size);

export function statfs(share: Share, nodeid: number, reply: StatfsReply): number {
  const fd = share.inodes.fd(nodeid);
  if (fd < 0) return fd;
  const failure = sys.fstatfs(fd, statfsBytes);
  if (failure < 0) return failure;
  const host = statfsStruct.decode(statfsBytes);
  reply.blocks = Number(host.f_blocks);
  reply.bfree = Number(host.f_bfree);
  reply.bavail = Number(host.f_bavail);
  reply.files = Number(host.f_files);
  reply.ffree = Number(host.f_ffree);
  reply.bsize = Number(host.f_bsize);
  reply.frsize = Number(host.f_frsize);
  reply.namelen = Number(host.f_namelen);
  return 0;
}

/** For clients that leave permissions to the backend: what the host's kernel says of the caller. */
export function access(share: Share, ctx: RequestContext, nodeid: number, mask: number): number {
  const fd = share.inodes.fd(nodeid);
  if (fd < 0) return fd;
  if (share.settings.readOnly && (mask & W_OK) !== 0) return -EROFS;
  if (share.caller.givesFiles) return accessByMode(share, ctx, fd, mask & 0o7);
  let result = share.caller.assumeToAsk(ctx);
  if (result === 0) result = sys.access(fd, mask & 0o7);
  share.caller.restore();
  return result;
}

/** As access(2) without lists of access rights, where a thread cannot ask as the caller. */
function accessByMode(share: Share, ctx: RequestContext, fd: number, mask: number): number {
  const failure = share.stat.read(fd);
  if (failure < 0) return failure;
  const { mode, uid, gid } = share.stat;
  const caller = share.caller.hostUid(ctx.uid);
  if (caller < 0) return -EPERM;
  if (caller === 0) {
    const mayRun = (mode & S_IFMT) === S_IFDIR || (mode & 0o111) !== 0;
    return (mask & X_OK) !== 0 && !mayRun ? -EACCES : 0;
  }
  const isMember = share.caller.isMember(ctx, gid);
  const granted = caller === uid ? mode >> 6 : isMember ? mode >> 3 : mode;
  return (mask & ~granted) === 0 ? 0 : -EACCES;
}

export function syncfs(share: Share, nodeid: number): Result {
  if (share.inodes.type(nodeid) === 0) return -ESTALE;
  const fd = sys.reopen(share.procFd, share.inodes.rootFd, O_DIRECTORY);
  return fd < 0 ? fd : sys.syncfsAside(fd).finally(() => sys.close(fd));
}
