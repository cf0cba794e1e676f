import {
  EINVAL,
  ENOSYS,
  fuse_removemapping_in,
  fuse_removemapping_one,
  fuse_setupmapping_in,
} from "@supermachine/fuse-protocol";
import type { FsBackend } from "../backend.js";
import type { RequestSlot } from "../slot.js";
import { BODY, finishEmpty, type OperationHandler } from "./operation-handler.js";

/** What the kernel sends as `fh` when it maps without an open file. */
const NO_HANDLE = 2n ** 64n - 1n;

export const setupMapping: OperationHandler = {
  begin(slot, backend) {
    if (backend.setupMapping === undefined) return -ENOSYS;
    const o = fuse_setupmapping_in.offsets;
    const fh = slot.u64Exact(BODY + o.fh) === NO_HANDLE ? undefined : slot.u64(BODY + o.fh);
    return backend.setupMapping(
      slot,
      slot.nodeid,
      fh,
      slot.u64(BODY + o.foffset),
      slot.u64(BODY + o.len),
      slot.u64(BODY + o.flags),
      slot.u64(BODY + o.moffset),
    );
  },
  finish: finishEmpty,
};

/** Unmaps every range, also after one has failed; the first failure is the result. */
async function removeRest(
  slot: RequestSlot,
  backend: FsBackend,
  first: Promise<number>,
  at: number,
  end: number,
): Promise<number> {
  let failure = Math.min(await first, 0);
  for (let one = at; one < end; one += fuse_removemapping_one.size) {
    const result = (await removeOne(slot, backend, one)) ?? 0;
    if (failure === 0) failure = Math.min(result, 0);
  }
  return failure;
}

function removeOne(slot: RequestSlot, backend: FsBackend, at: number) {
  const o = fuse_removemapping_one.offsets;
  return backend.removeMapping?.(slot, slot.u64(at + o.moffset), slot.u64(at + o.len));
}

export const removeMapping: OperationHandler = {
  begin(slot, backend) {
    if (backend.removeMapping === undefined) return -ENOSYS;
    const count = slot.u32(BODY + fuse_removemapping_in.offsets.count);
    if (count === 0) return -EINVAL;
    const start = slot.records(count * fuse_removemapping_one.size);
    const end = start + count * fuse_removemapping_one.size;
    let failure = 0;
    for (let at = start; at < end; at += fuse_removemapping_one.size) {
      const result = removeOne(slot, backend, at) ?? 0;
      if (typeof result !== "number") {
        return removeRest(slot, backend, result, at + fuse_removemapping_one.size, end);
      }
      if (failure === 0) failure = Math.min(result, 0);
    }
    return failure;
  },
  finish: finishEmpty,
};
