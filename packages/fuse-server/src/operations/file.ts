import {
  EFBIG,
  EINVAL,
  EIO,
  ENOSYS,
  FUSE_FSYNC_FDATASYNC,
  FUSE_POLL_SCHEDULE_NOTIFY,
  fuse_bmap_in,
  fuse_copy_file_range_in,
  fuse_fallocate_in,
  fuse_flush_in,
  fuse_fsync_in,
  fuse_ioctl_in,
  fuse_ioctl_out,
  fuse_lseek_in,
  fuse_lseek_out,
  fuse_open_in,
  fuse_poll_in,
  fuse_read_in,
  fuse_release_in,
  fuse_write_in,
  fuse_write_out,
} from "@supermachine/fuse-protocol";
import { writeInteger64, writeOpen } from "../encode.js";
import { totalLength } from "../scatter.js";
import type { RequestSlot } from "../slot.js";
import { BODY, finishEmpty, type OperationHandler, REPLY } from "./operation-handler.js";

/** `struct fuse_write_out` and `fuse_poll_out`: a 32-bit result and padding. */
function finishU32(slot: RequestSlot, result: number): number {
  writeInteger64(slot.replyView, REPLY, result % 2 ** 32);
  return fuse_write_out.size;
}

function finishU64(slot: RequestSlot, result: number): number {
  writeInteger64(slot.replyView, REPLY, result);
  return fuse_lseek_out.size;
}

export const open: OperationHandler = {
  begin(slot, backend) {
    if (backend.open === undefined) return -ENOSYS;
    const o = fuse_open_in.offsets;
    const flags = slot.u32(BODY + o.flags);
    const openFlags = slot.u32(BODY + o.open_flags);
    return backend.open(slot, slot.nodeid, flags, slot.freshOpen(), openFlags);
  },
  finish: (slot) => writeOpen(slot.replyView, REPLY, slot.open),
};

export const read: OperationHandler = {
  begin(slot, backend) {
    if (backend.read === undefined) return -ENOSYS;
    const o = fuse_read_in.offsets;
    const fh = slot.u64(BODY + o.fh);
    const offset = slot.s64(BODY + o.offset);
    if (offset < 0) return -EINVAL;
    const buffers = slot.outputData(slot.u32(BODY + o.size));
    slot.setLockOwner(BODY + o.lock_owner);
    // No file is that long.
    if (offset > Number.MAX_SAFE_INTEGER) return 0;
    return backend.read(slot, slot.nodeid, fh, offset, buffers);
  },
  finish: (slot, length) => (length > totalLength(slot.data) ? -EIO : length),
  direct: true,
};

export const write: OperationHandler = {
  begin(slot, backend) {
    if (backend.write === undefined) return -ENOSYS;
    const o = fuse_write_in.offsets;
    const fh = slot.u64(BODY + o.fh);
    const offset = slot.s64(BODY + o.offset);
    if (offset < 0) return -EINVAL;
    if (offset > Number.MAX_SAFE_INTEGER) return -EFBIG;
    const buffers = slot.inputData(slot.u32(BODY + o.size));
    slot.setLockOwner(BODY + o.lock_owner);
    const writeFlags = slot.u32(BODY + o.write_flags);
    return backend.write(slot, slot.nodeid, fh, offset, buffers, writeFlags);
  },
  finish: (slot, length) => (length > totalLength(slot.data) ? -EIO : finishU32(slot, length)),
  dataFollows: true,
};

export const flush: OperationHandler = {
  begin(slot, backend) {
    if (backend.flush === undefined) return -ENOSYS;
    const o = fuse_flush_in.offsets;
    slot.setLockOwner(BODY + o.lock_owner);
    return backend.flush(slot, slot.nodeid, slot.u64(BODY + o.fh));
  },
  finish: finishEmpty,
};

export const release: OperationHandler = {
  begin(slot, backend) {
    if (backend.release === undefined) return -ENOSYS;
    const o = fuse_release_in.offsets;
    slot.setLockOwner(BODY + o.lock_owner);
    const fh = slot.u64(BODY + o.fh);
    const flags = slot.u32(BODY + o.flags);
    return backend.release(slot, slot.nodeid, fh, flags, slot.u32(BODY + o.release_flags));
  },
  finish: finishEmpty,
};

export const fsync: OperationHandler = {
  begin(slot, backend) {
    if (backend.fsync === undefined) return -ENOSYS;
    const o = fuse_fsync_in.offsets;
    const dataOnly = (slot.u32(BODY + o.fsync_flags) & FUSE_FSYNC_FDATASYNC) !== 0;
    return backend.fsync(slot, slot.nodeid, slot.u64(BODY + o.fh), dataOnly);
  },
  finish: finishEmpty,
};

export const fallocate: OperationHandler = {
  begin(slot, backend) {
    if (backend.fallocate === undefined) return -ENOSYS;
    const o = fuse_fallocate_in.offsets;
    return backend.fallocate(
      slot,
      slot.nodeid,
      slot.u64(BODY + o.fh),
      slot.u32(BODY + o.mode),
      slot.u64(BODY + o.offset),
      slot.u64(BODY + o.length),
    );
  },
  finish: finishEmpty,
};

export const lseek: OperationHandler = {
  begin(slot, backend) {
    if (backend.lseek === undefined) return -ENOSYS;
    const o = fuse_lseek_in.offsets;
    const offset = slot.s64(BODY + o.offset);
    if (!Number.isSafeInteger(offset)) return -EINVAL;
    const whence = slot.u32(BODY + o.whence);
    return backend.lseek(slot, slot.nodeid, slot.u64(BODY + o.fh), offset, whence);
  },
  finish: finishU64,
};

function copyHandler(longest: number, finish: OperationHandler["finish"]): OperationHandler {
  return {
    begin(slot, backend) {
      if (backend.copyFileRange === undefined) return -ENOSYS;
      const o = fuse_copy_file_range_in.offsets;
      // cp(1) asks for as much as ssize_t holds.
      const length = Math.min(slot.s64(BODY + o.len), longest);
      if (length < 0) return -EINVAL;
      return backend.copyFileRange(
        slot,
        slot.nodeid,
        slot.u64(BODY + o.fh_in),
        slot.u64(BODY + o.off_in),
        slot.u64(BODY + o.nodeid_out),
        slot.u64(BODY + o.fh_out),
        slot.u64(BODY + o.off_out),
        length,
        slot.u64(BODY + o.flags),
      );
    },
    finish,
  };
}

/** The reply counts in 32 bits. */
export const copyFileRange = copyHandler(0xffff_f000, finishU32);
export const copyFileRange64 = copyHandler(Number.MAX_SAFE_INTEGER, finishU64);

export const bmap: OperationHandler = {
  begin(slot, backend) {
    if (backend.bmap === undefined) return -ENOSYS;
    const o = fuse_bmap_in.offsets;
    const block = slot.u64(BODY + o.block);
    return backend.bmap(slot, slot.nodeid, block, slot.u32(BODY + o.blocksize));
  },
  finish: finishU64,
};

export const poll: OperationHandler = {
  begin(slot, backend) {
    if (backend.poll === undefined) return -ENOSYS;
    const o = fuse_poll_in.offsets;
    const scheduled = (slot.u32(BODY + o.flags) & FUSE_POLL_SCHEDULE_NOTIFY) !== 0;
    const notify = scheduled ? slot.u64(BODY + o.kh) : undefined;
    return backend.poll(
      slot,
      slot.nodeid,
      slot.u64(BODY + o.fh),
      slot.u32(BODY + o.events),
      notify,
    );
  },
  finish: finishU32,
};

export const ioctl: OperationHandler = {
  begin(slot, backend) {
    if (backend.ioctl === undefined) return -ENOSYS;
    const o = fuse_ioctl_in.offsets;
    const room = slot.replyRoom(slot.u32(BODY + o.out_size) + fuse_ioctl_out.size);
    if (room < fuse_ioctl_out.size) return -EINVAL;
    const output = slot.replyBody(room).subarray(fuse_ioctl_out.size);
    return backend.ioctl(
      slot,
      slot.nodeid,
      slot.u64(BODY + o.fh),
      slot.u32(BODY + o.cmd),
      slot.u64(BODY + o.arg),
      slot.u32(BODY + o.flags),
      slot.bytes(slot.u32(BODY + o.in_size)),
      output,
      slot.freshIoctl(),
    );
  },
  finish(slot) {
    const o = fuse_ioctl_out.offsets;
    const { result, length } = slot.ioctl;
    if (fuse_ioctl_out.size + length > slot.replyRoom(Number.MAX_SAFE_INTEGER)) return -EIO;
    slot.replyView.setInt32(REPLY + o.result, result, true);
    slot.replyView.setUint32(REPLY + o.flags, 0, true);
    slot.replyView.setUint32(REPLY + o.in_iovs, 0, true);
    slot.replyView.setUint32(REPLY + o.out_iovs, 0, true);
    return fuse_ioctl_out.size + length;
  },
};
