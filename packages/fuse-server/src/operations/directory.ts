import {
  ENOSYS,
  FUSE_FSYNC_FDATASYNC,
  fuse_fsync_in,
  fuse_open_in,
  fuse_read_in,
  fuse_release_in,
} from "@supermachine/fuse-protocol";
import { writeOpen } from "../encode.js";
import { BODY, finishEmpty, type OperationHandler, REPLY } from "./operation-handler.js";

const requested = fuse_read_in.offsets;

export const opendir: OperationHandler = {
  begin(slot, backend) {
    if (backend.opendir === undefined) return -ENOSYS;
    const flags = slot.u32(BODY + fuse_open_in.offsets.flags);
    return backend.opendir(slot, slot.nodeid, flags, slot.freshOpen());
  },
  finish: (slot) => writeOpen(slot.replyView, REPLY, slot.open),
};

export const readdir: OperationHandler = {
  begin(slot, backend) {
    if (backend.readdir === undefined) return -ENOSYS;
    const fh = slot.u64(BODY + requested.fh);
    const offset = slot.u64(BODY + requested.offset);
    const room = slot.replyRoom(slot.u32(BODY + requested.size));
    slot.ensureReply(REPLY + room);
    slot.dirents.begin(slot.reply, slot.replyView, REPLY, REPLY + room);
    return backend.readdir(slot, slot.nodeid, fh, offset, slot.dirents);
  },
  finish: (slot) => slot.dirents.length,
};

export const readdirplus: OperationHandler = {
  begin(slot, backend, validity) {
    if (backend.readdirplus === undefined) return -ENOSYS;
    const fh = slot.u64(BODY + requested.fh);
    const offset = slot.u64(BODY + requested.offset);
    const room = slot.replyRoom(slot.u32(BODY + requested.size));
    slot.ensureReply(REPLY + room);
    slot.direntsPlus.begin(
      slot.reply,
      slot.replyView,
      REPLY,
      REPLY + room,
      validity.entryValidMs,
      validity.attrValidMs,
    );
    return backend.readdirplus(slot, slot.nodeid, fh, offset, slot.direntsPlus);
  },
  finish: (slot) => slot.direntsPlus.length,
};

export const releasedir: OperationHandler = {
  begin(slot, backend) {
    if (backend.releasedir === undefined) return -ENOSYS;
    const o = fuse_release_in.offsets;
    return backend.releasedir(slot, slot.nodeid, slot.u64(BODY + o.fh), slot.u32(BODY + o.flags));
  },
  finish: finishEmpty,
};

export const fsyncdir: OperationHandler = {
  begin(slot, backend) {
    if (backend.fsyncdir === undefined) return -ENOSYS;
    const o = fuse_fsync_in.offsets;
    const dataOnly = (slot.u32(BODY + o.fsync_flags) & FUSE_FSYNC_FDATASYNC) !== 0;
    return backend.fsyncdir(slot, slot.nodeid, slot.u64(BODY + o.fh), dataOnly);
  },
  finish: finishEmpty,
};
