import { ENOSYS, FUSE_LK_FLOCK, fuse_lk_in } from "@supermachine/fuse-protocol";
import { writeLock } from "../encode.js";
import { BODY, finishEmpty, type OperationHandler, REPLY } from "./operation-handler.js";

export const getlk: OperationHandler = {
  begin(slot, backend) {
    if (backend.getlk === undefined) return -ENOSYS;
    slot.lock.take(slot);
    const fh = slot.u64(BODY + fuse_lk_in.offsets.fh);
    return backend.getlk(slot, slot.nodeid, fh, slot.lock, slot.freshLock());
  },
  finish: (slot) => writeLock(slot.replyView, REPLY, slot.lockReply),
};

function setlkHandler(wait: boolean): OperationHandler {
  return {
    begin(slot, backend) {
      slot.lock.take(slot);
      const fh = slot.u64(BODY + fuse_lk_in.offsets.fh);
      const isFlock = (slot.lock.flags & FUSE_LK_FLOCK) !== 0;
      const result = isFlock
        ? backend.flock?.(slot, slot.nodeid, fh, slot.lock, wait)
        : backend.setlk?.(slot, slot.nodeid, fh, slot.lock, wait);
      return result ?? -ENOSYS;
    },
    finish: finishEmpty,
  };
}

export const setlk = setlkHandler(false);
export const setlkw = setlkHandler(true);
