import {
  EFBIG,
  EINVAL,
  FATTR_SIZE,
  fuse_file_lock,
  fuse_in_header,
  fuse_lk_in,
  fuse_setattr_in,
} from "@supermachine/fuse-protocol";
import { FuseError } from "./error.js";
import type { LockRequest, SetattrRequest } from "./request.js";

/** Reads the arguments of a request; implemented by the slot. */
interface ArgumentReader {
  u32(at: number): number;
  u64(at: number): number;
  s64(at: number): number;
  u64Exact(at: number): bigint;
}

const BODY = fuse_in_header.size;

export class SetattrFields implements SetattrRequest {
  valid = 0;
  size = 0;
  mode = 0;
  uid = 0;
  gid = 0;
  atime = 0;
  mtime = 0;
  ctime = 0;
  atimensec = 0;
  mtimensec = 0;
  ctimensec = 0;

  take(reader: ArgumentReader): void {
    const o = fuse_setattr_in.offsets;
    this.valid = reader.u32(BODY + o.valid);
    const size = reader.s64(BODY + o.size);
    if ((this.valid & FATTR_SIZE) !== 0) {
      if (size < 0) throw new FuseError(EINVAL);
      if (size > Number.MAX_SAFE_INTEGER) throw new FuseError(EFBIG);
    }
    this.size = size;
    this.mode = reader.u32(BODY + o.mode);
    this.uid = reader.u32(BODY + o.uid);
    this.gid = reader.u32(BODY + o.gid);
    this.atime = reader.s64(BODY + o.atime);
    this.mtime = reader.s64(BODY + o.mtime);
    this.ctime = reader.s64(BODY + o.ctime);
    this.atimensec = reader.u32(BODY + o.atimensec);
    this.mtimensec = reader.u32(BODY + o.mtimensec);
    this.ctimensec = reader.u32(BODY + o.ctimensec);
  }
}

export class LockFields implements LockRequest {
  owner = 0n;
  start = 0;
  end = 0;
  type = 0;
  pid = 0;
  flags = 0;

  take(reader: ArgumentReader): void {
    const o = fuse_lk_in.offsets;
    const lock = BODY + o.lk;
    this.owner = reader.u64Exact(BODY + o.owner);
    this.start = reader.u64(lock + fuse_file_lock.offsets.start);
    // Linux writes "to the end" as the largest loff_t.
    const end = reader.s64(lock + fuse_file_lock.offsets.end);
    this.end = end < 0 || end > Number.MAX_SAFE_INTEGER ? Number.POSITIVE_INFINITY : end;
    this.type = reader.u32(lock + fuse_file_lock.offsets.type);
    this.pid = reader.u32(lock + fuse_file_lock.offsets.pid);
    this.flags = reader.u32(BODY + o.lk_flags);
  }
}
