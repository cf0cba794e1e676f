import {
  EINVAL,
  ENOSYS,
  FATTR_FH,
  FUSE_GETATTR_FH,
  fuse_access_in,
  fuse_getattr_in,
  fuse_setattr_in,
  fuse_statx_in,
} from "@supermachine/fuse-protocol";
import { writeAttributes, writeStatfs, writeStatx } from "../encode.js";
import type { AttrReply } from "../reply.js";
import type { RequestSlot } from "../slot.js";
import {
  BODY,
  finishEmpty,
  type OperationHandler,
  REPLY,
  type Validity,
} from "./operation-handler.js";

function freshAttr(slot: RequestSlot, validity: Validity): AttrReply {
  slot.attr.attrValidMs = validity.attrValidMs;
  slot.attr.attr.clear();
  return slot.attr;
}

function finishAttr(slot: RequestSlot): number {
  return writeAttributes(slot.replyView, REPLY, slot.attr);
}

export const getattr: OperationHandler = {
  begin(slot, backend, validity) {
    if (backend.getattr === undefined) return -ENOSYS;
    const o = fuse_getattr_in.offsets;
    const hasFh = (slot.u32(BODY + o.getattr_flags) & FUSE_GETATTR_FH) !== 0;
    const fh = hasFh ? slot.u64(BODY + o.fh) : undefined;
    return backend.getattr(slot, slot.nodeid, fh, freshAttr(slot, validity));
  },
  finish: finishAttr,
};

export const setattr: OperationHandler = {
  begin(slot, backend, validity) {
    if (backend.setattr === undefined) return -ENOSYS;
    slot.setattr.take(slot);
    const hasFh = (slot.setattr.valid & FATTR_FH) !== 0;
    const fh = hasFh ? slot.u64(BODY + fuse_setattr_in.offsets.fh) : undefined;
    slot.setLockOwner(BODY + fuse_setattr_in.offsets.lock_owner);
    return backend.setattr(slot, slot.nodeid, fh, slot.setattr, freshAttr(slot, validity));
  },
  finish: finishAttr,
};

export const statx: OperationHandler = {
  begin(slot, backend, validity) {
    if (backend.statx === undefined) return -ENOSYS;
    const o = fuse_statx_in.offsets;
    const hasFh = (slot.u32(BODY + o.getattr_flags) & FUSE_GETATTR_FH) !== 0;
    const fh = hasFh ? slot.u64(BODY + o.fh) : undefined;
    const flags = slot.u32(BODY + o.sx_flags);
    const mask = slot.u32(BODY + o.sx_mask);
    const reply = slot.freshStatx();
    reply.attrValidMs = validity.attrValidMs;
    return backend.statx(slot, slot.nodeid, fh, flags, mask, reply);
  },
  finish: (slot) => writeStatx(slot.replyView, REPLY, slot.statx),
};

export const access: OperationHandler = {
  begin(slot, backend) {
    if (backend.access === undefined) return -ENOSYS;
    return backend.access(slot, slot.nodeid, slot.u32(BODY + fuse_access_in.offsets.mask));
  },
  finish: finishEmpty,
};

export const readlink: OperationHandler = {
  begin(slot, backend) {
    if (backend.readlink === undefined) return -ENOSYS;
    // The kernel offers a page; it rejects a target that fills it.
    return backend.readlink(slot, slot.nodeid, slot.replyBody(slot.replyRoom(4096)));
  },
  finish: (slot, length) => (length > slot.replyRoom(4096) ? -EINVAL : length),
};

export const statfs: OperationHandler = {
  begin(slot, backend) {
    if (backend.statfs === undefined) return -ENOSYS;
    return backend.statfs(slot, slot.nodeid, slot.freshStatfs());
  },
  finish: (slot) => writeStatfs(slot.replyView, REPLY, slot.statfs),
};

export const syncfs: OperationHandler = {
  begin: (slot, backend) => backend.syncfs?.(slot, slot.nodeid) ?? -ENOSYS,
  finish: finishEmpty,
};
