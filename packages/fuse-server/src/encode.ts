import {
  fuse_attr,
  fuse_attr_out,
  fuse_entry_out,
  fuse_file_lock,
  fuse_kstatfs,
  fuse_open_out,
  fuse_statx,
  fuse_statx_out,
  fuse_sx_time,
} from "@supermachine/fuse-protocol";
import type {
  Attr,
  AttrReply,
  EntryReply,
  LockReply,
  OpenReply,
  StatfsReply,
  StatxReply,
  StatxTime,
} from "./reply.js";

/** Writes an integer of up to 53 bits, negative ones sign-extended. */
export function writeInteger64(view: DataView, at: number, value: number): void {
  // Conversion to 32 bits is modulo 2^32; most values are their own lower half.
  const low = value >>> 0;
  view.setUint32(at, low, true);
  view.setUint32(at + 4, low === value ? 0 : Math.floor(value / 2 ** 32), true);
}

/** About a century: what `Infinity` becomes on the wire. */
const FOREVER_SECONDS = 2 ** 32;

function writeValidity(view: DataView, secondsAt: number, nanosecondsAt: number, ms: number): void {
  const seconds = ms > 0 ? Math.min(Math.floor(ms / 1000), FOREVER_SECONDS) : 0;
  const rest = seconds < FOREVER_SECONDS && ms > 0 ? Math.round((ms - seconds * 1000) * 1e6) : 0;
  writeInteger64(view, secondsAt, seconds);
  view.setUint32(nanosecondsAt, Math.min(rest, 999_999_999), true);
}

function writeAttr(view: DataView, at: number, attr: Attr): void {
  const o = fuse_attr.offsets;
  writeInteger64(view, at + o.ino, attr.ino);
  writeInteger64(view, at + o.size, attr.size);
  writeInteger64(view, at + o.blocks, attr.blocks);
  writeInteger64(view, at + o.atime, attr.atime);
  writeInteger64(view, at + o.mtime, attr.mtime);
  writeInteger64(view, at + o.ctime, attr.ctime);
  view.setUint32(at + o.atimensec, attr.atimensec, true);
  view.setUint32(at + o.mtimensec, attr.mtimensec, true);
  view.setUint32(at + o.ctimensec, attr.ctimensec, true);
  view.setUint32(at + o.mode, attr.mode, true);
  view.setUint32(at + o.nlink, attr.nlink, true);
  view.setUint32(at + o.uid, attr.uid, true);
  view.setUint32(at + o.gid, attr.gid, true);
  view.setUint32(at + o.rdev, attr.rdev, true);
  view.setUint32(at + o.blksize, attr.blksize, true);
  view.setUint32(at + o.flags, attr.flags, true);
}

/** Writes `struct fuse_entry_out` and returns its size; so do the others with theirs. */
export function writeEntry(view: DataView, at: number, entry: EntryReply): number {
  const o = fuse_entry_out.offsets;
  writeInteger64(view, at + o.nodeid, entry.nodeid);
  writeInteger64(view, at + o.generation, entry.generation);
  writeValidity(view, at + o.entry_valid, at + o.entry_valid_nsec, entry.entryValidMs);
  writeValidity(view, at + o.attr_valid, at + o.attr_valid_nsec, entry.attrValidMs);
  writeAttr(view, at + o.attr, entry.attr);
  return fuse_entry_out.size;
}

export function writeAttributes(view: DataView, at: number, reply: AttrReply): number {
  const o = fuse_attr_out.offsets;
  writeValidity(view, at + o.attr_valid, at + o.attr_valid_nsec, reply.attrValidMs);
  view.setUint32(at + o.dummy, 0, true);
  writeAttr(view, at + o.attr, reply.attr);
  return fuse_attr_out.size;
}

export function writeOpen(view: DataView, at: number, reply: OpenReply): number {
  const o = fuse_open_out.offsets;
  writeInteger64(view, at + o.fh, reply.fh);
  view.setUint32(at + o.open_flags, reply.flags, true);
  view.setInt32(at + o.backing_id, reply.backingId, true);
  return fuse_open_out.size;
}

export function writeStatfs(view: DataView, at: number, reply: StatfsReply): number {
  const o = fuse_kstatfs.offsets;
  writeInteger64(view, at + o.blocks, reply.blocks);
  writeInteger64(view, at + o.bfree, reply.bfree);
  writeInteger64(view, at + o.bavail, reply.bavail);
  writeInteger64(view, at + o.files, reply.files);
  writeInteger64(view, at + o.ffree, reply.ffree);
  view.setUint32(at + o.bsize, reply.bsize, true);
  view.setUint32(at + o.namelen, reply.namelen, true);
  view.setUint32(at + o.frsize, reply.frsize, true);
  for (let pad = o.padding; pad < fuse_kstatfs.size; pad += 4) view.setUint32(at + pad, 0, true);
  return fuse_kstatfs.size;
}

function writeTime(view: DataView, at: number, time: StatxTime): void {
  writeInteger64(view, at + fuse_sx_time.offsets.tv_sec, time.seconds);
  view.setUint32(at + fuse_sx_time.offsets.tv_nsec, time.nanoseconds, true);
}

export function writeStatx(view: DataView, at: number, reply: StatxReply): number {
  for (let pad = 0; pad < fuse_statx_out.size; pad += 4) view.setUint32(at + pad, 0, true);
  const out = fuse_statx_out.offsets;
  writeValidity(view, at + out.attr_valid, at + out.attr_valid_nsec, reply.attrValidMs);
  const stat = at + out.stat;
  const o = fuse_statx.offsets;
  view.setUint32(stat + o.mask, reply.mask, true);
  view.setUint32(stat + o.blksize, reply.blksize, true);
  writeInteger64(view, stat + o.attributes, reply.attributes);
  view.setUint32(stat + o.nlink, reply.nlink, true);
  view.setUint32(stat + o.uid, reply.uid, true);
  view.setUint32(stat + o.gid, reply.gid, true);
  view.setUint16(stat + o.mode, reply.mode, true);
  writeInteger64(view, stat + o.ino, reply.ino);
  writeInteger64(view, stat + o.size, reply.size);
  writeInteger64(view, stat + o.blocks, reply.blocks);
  writeInteger64(view, stat + o.attributes_mask, reply.attributesMask);
  writeTime(view, stat + o.atime, reply.atime);
  writeTime(view, stat + o.btime, reply.btime);
  writeTime(view, stat + o.ctime, reply.ctime);
  writeTime(view, stat + o.mtime, reply.mtime);
  view.setUint32(stat + o.rdev_major, reply.rdevMajor, true);
  view.setUint32(stat + o.rdev_minor, reply.rdevMinor, true);
  view.setUint32(stat + o.dev_major, reply.devMajor, true);
  view.setUint32(stat + o.dev_minor, reply.devMinor, true);
  return fuse_statx_out.size;
}

export function writeLock(view: DataView, at: number, reply: LockReply): number {
  const o = fuse_file_lock.offsets;
  writeInteger64(view, at + o.start, reply.start);
  if (reply.end <= Number.MAX_SAFE_INTEGER) writeInteger64(view, at + o.end, reply.end);
  else view.setBigUint64(at + o.end, 2n ** 63n - 1n, true);
  view.setUint32(at + o.type, reply.type, true);
  view.setUint32(at + o.pid, reply.pid, true);
  return fuse_file_lock.size;
}
