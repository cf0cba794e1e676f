import {
  E2BIG,
  ENOSYS,
  ERANGE,
  FUSE_COMPAT_SETXATTR_IN_SIZE,
  fuse_getxattr_in,
  fuse_getxattr_out,
  fuse_setxattr_in,
  XATTR_NAME_MAX,
  XATTR_SIZE_MAX,
} from "@supermachine/fuse-protocol";
import { writeInteger64 } from "../encode.js";
import type { RequestSlot } from "../slot.js";
import { BODY, finishEmpty, type OperationHandler, REPLY } from "./operation-handler.js";

/** The value that fits; an empty one asks for its length. */
function wantedBytes(slot: RequestSlot): number {
  return Math.min(slot.u32(BODY + fuse_getxattr_in.offsets.size), XATTR_SIZE_MAX);
}

function finishValue(slot: RequestSlot, length: number): number {
  const wanted = wantedBytes(slot);
  if (wanted === 0) {
    writeInteger64(slot.replyView, REPLY, length);
    return fuse_getxattr_out.size;
  }
  return length > wanted ? -ERANGE : length;
}

/** With FUSE_SETXATTR_EXT, which the session accepts whenever it is offered, or without. */
export function setxattrHandler(extended: boolean): OperationHandler {
  return {
    begin(slot, backend) {
      if (backend.setxattr === undefined) return -ENOSYS;
      const o = fuse_setxattr_in.offsets;
      slot.namesStartAt(BODY + (extended ? fuse_setxattr_in.size : FUSE_COMPAT_SETXATTR_IN_SIZE));
      const name = slot.string(XATTR_NAME_MAX);
      const size = slot.u32(BODY + o.size);
      if (size > XATTR_SIZE_MAX) return -E2BIG;
      const flags = slot.u32(BODY + o.flags);
      const setxattrFlags = extended ? slot.u32(BODY + o.setxattr_flags) : 0;
      return backend.setxattr(slot, slot.nodeid, name, slot.bytes(size), flags, setxattrFlags);
    },
    finish: finishEmpty,
  };
}

export const getxattr: OperationHandler = {
  begin(slot, backend) {
    if (backend.getxattr === undefined) return -ENOSYS;
    const name = slot.string(XATTR_NAME_MAX);
    return backend.getxattr(slot, slot.nodeid, name, slot.replyBody(wantedBytes(slot)));
  },
  finish: finishValue,
};

export const listxattr: OperationHandler = {
  begin(slot, backend) {
    if (backend.listxattr === undefined) return -ENOSYS;
    return backend.listxattr(slot, slot.nodeid, slot.replyBody(wantedBytes(slot)));
  },
  finish: finishValue,
};

export const removexattr: OperationHandler = {
  begin(slot, backend) {
    if (backend.removexattr === undefined) return -ENOSYS;
    return backend.removexattr(slot, slot.nodeid, slot.string(XATTR_NAME_MAX));
  },
  finish: finishEmpty,
};
