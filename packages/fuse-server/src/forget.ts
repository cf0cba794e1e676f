import { fuse_batch_forget_in, fuse_forget_in, fuse_forget_one } from "@supermachine/fuse-protocol";
import type { FsBackend } from "./backend.js";
import type { ClientLedger } from "./client-ledger.js";
import { BODY } from "./operations/operation-handler.js";
import type { RequestSlot } from "./slot.js";

/** FUSE_FORGET: the client gives back lookups of a node. With a ledger, no more than it has. */
export function forget(
  slot: RequestSlot,
  backend: FsBackend,
  ledger: ClientLedger | undefined,
): void {
  const count = slot.u64(BODY + fuse_forget_in.offsets.nlookup);
  forgetNode(slot.nodeid, count, backend, ledger);
}

/** FUSE_BATCH_FORGET: of many nodes. */
export function batchForget(
  slot: RequestSlot,
  backend: FsBackend,
  ledger: ClientLedger | undefined,
): void {
  const count = slot.u32(BODY + fuse_batch_forget_in.offsets.count);
  const start = slot.records(count * fuse_forget_one.size);
  const o = fuse_forget_one.offsets;
  for (let i = 0; i < count; i++) {
    const at = start + i * fuse_forget_one.size;
    forgetNode(slot.u64(at + o.nodeid), slot.u64(at + o.nlookup), backend, ledger);
  }
}

function forgetNode(
  nodeid: number,
  count: number,
  backend: FsBackend,
  ledger: ClientLedger | undefined,
): void {
  const taken = ledger?.forget(nodeid, count) ?? count;
  if (taken > 0) backend.forget?.(nodeid, taken);
}
