/**
 * Operations on the data of open files. Those that may wait for a disk go on at another thread, with the open
 * file held so that it cannot be closed meanwhile.
 */
import {
  EAGAIN,
  EBADF,
  EINVAL,
  ENOSYS,
  EOPNOTSUPP,
  FUSE_WRITE_KILL_SUIDGID,
  SEEK_DATA,
  SEEK_HOLE,
} from "@supermachine/fuse-protocol";
import type { RequestContext } from "@supermachine/fuse-server";
import * as sys from "../platform/host.js";
import {
  closeAside,
  copyFileRangeAside,
  fallocateAside,
  fdatasyncAside,
  fsyncAside,
} from "../platform/host.js";
import type { Share } from "../share.js";
import { dropSetIdBits } from "./files.js";
import { readAside, readCached, readInto, writeFrom } from "./io-vectors.js";
import { dropMappedCapability } from "./xattrs.js";

type Result = number | Promise<number>;

/** Bytes up to which copying takes less time than handing it to another thread. */
const SHORT_COPY = 256 * 1024;
/** Bytes up to which space is allocated at once; tmpfs clears it all. */
const SHORT_ALLOCATION = 16 * 1024 * 1024;

/** Calls what may wait with the fd of `fh`, which stays open until that is done. */
async function holding(
  share: Share,
  fh: number,
  call: (fd: number) => Promise<number>,
): Promise<number> {
  const fd = share.handles.pin(fh);
  if (fd < 0) return fd;
  try {
    return await call(fd);
  } finally {
    share.handles.unpin(fh);
  }
}

export function read(
  share: Share,
  fh: number,
  offset: number,
  buffers: readonly Uint8Array[],
): Result {
  const fd = share.handles.fd(fh);
  if (fd < 0) return fd;
  if (share.readsCached) {
    const result = readCached(fd, offset, buffers);
    if (result === -EAGAIN) return holding(share, fh, (held) => readAside(held, offset, buffers));
    if (result !== -EOPNOTSUPP) return result;
    share.readsCached = false;
  }
  return readInto(fd, offset, buffers);
}

export function write(
  share: Share,
  ctx: RequestContext,
  fh: number,
  offset: number,
  buffers: readonly Uint8Array[],
  writeFlags: number,
): number {
  const fd = share.handles.writableFd(fh);
  if (fd < 0) return fd;
  // The host's kernel drops security.capability on any write, but set-id bits not when root writes.
  if ((writeFlags & FUSE_WRITE_KILL_SUIDGID) !== 0) dropSetIdBits(share, ctx, fd);
  if (share.mapsCapabilities) dropMappedCapability(share, fd);
  return writeFrom(fd, offset, buffers);
}

/**
 * What close(2) does for a file system that reports failed writes no earlier: network file systems write then.
 * Others have nothing to report.
 */
export function flush(share: Share, fh: number): Result {
  const fd = share.handles.fd(fh);
  if (fd < 0 || !share.reportsAtClose) return Math.min(fd, 0);
  const copy = sys.duplicate(fd);
  return copy < 0 ? copy : closeAside(copy);
}

export function fsync(share: Share, fh: number, dataOnly: boolean): Result {
  if (share.handles.fd(fh) < 0) return -EBADF;
  return holding(share, fh, dataOnly ? fdatasyncAside : fsyncAside);
}

/** The same for a directory. */
export function fsyncdir(share: Share, fh: number, dataOnly: boolean): Result {
  if (share.handles.reader(fh) === undefined) return -EBADF;
  return holding(share, fh, dataOnly ? fdatasyncAside : fsyncAside);
}

export function fallocate(
  share: Share,
  ctx: RequestContext,
  fh: number,
  mode: number,
  offset: number,
  length: number,
): Result {
  const fd = share.handles.writableFd(fh);
  if (fd < 0) return fd;
  if (ctx.uid !== 0) dropSetIdBits(share, ctx, fd);
  if (share.mapsCapabilities) dropMappedCapability(share, fd);
  if (length <= SHORT_ALLOCATION) return sys.fallocate(fd, mode, offset, length);
  return holding(share, fh, (held) => fallocateAside(held, mode, offset, length));
}

/**
 * A client that caches writes asks without having written them: what is data to it is a hole here, and a copy
 * that trusts the answer loses it. ENOSYS has Linux take all of a file for data from then on.
 */
export function lseek(share: Share, fh: number, offset: number, whence: number): number {
  if (share.writebackCache) return -ENOSYS;
  const fd = share.handles.fd(fh);
  if (fd < 0) return fd;
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return -EINVAL;
  return sys.lseek(fd, offset, whence);
}

export function copyFileRange(
  share: Share,
  ctx: RequestContext,
  fh: number,
  offset: number,
  fhOut: number,
  offsetOut: number,
  length: number,
): Result {
  const from = share.handles.fd(fh);
  if (from < 0) return from;
  const to = share.handles.writableFd(fhOut);
  if (to < 0) return to;
  if (ctx.uid !== 0) dropSetIdBits(share, ctx, to);
  if (share.mapsCapabilities) dropMappedCapability(share, to);
  if (length <= SHORT_COPY) return sys.copyFileRange(from, offset, to, offsetOut, length);
  return holding(share, fh, (source) =>
    holding(share, fhOut, (target) =>
      copyFileRangeAside(source, offset, target, offsetOut, length),
    ),
  );
}
