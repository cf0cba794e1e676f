import {
  ENOSYS,
  fuse_create_in,
  fuse_link_in,
  fuse_mkdir_in,
  fuse_mknod_in,
  fuse_rename_in,
  fuse_rename2_in,
  PATH_MAX,
} from "@supermachine/fuse-protocol";
import { writeEntry, writeOpen } from "../encode.js";
import type { EntryReply } from "../reply.js";
import type { RequestSlot } from "../slot.js";
import {
  BODY,
  finishEmpty,
  type OperationHandler,
  REPLY,
  type Validity,
} from "./operation-handler.js";

function freshEntry(slot: RequestSlot, validity: Validity): EntryReply {
  const { entry } = slot;
  entry.nodeid = 0;
  entry.generation = 0;
  entry.entryValidMs = validity.entryValidMs;
  entry.attrValidMs = validity.attrValidMs;
  entry.attr.clear();
  return entry;
}

function finishEntry(slot: RequestSlot): number {
  return writeEntry(slot.replyView, REPLY, slot.entry);
}

function finishEntryAndOpen(slot: RequestSlot): number {
  const entry = writeEntry(slot.replyView, REPLY, slot.entry);
  return entry + writeOpen(slot.replyView, REPLY + entry, slot.open);
}

export const lookup: OperationHandler = {
  begin(slot, backend, validity) {
    if (backend.lookup === undefined) return -ENOSYS;
    const name = slot.fileName(backend.features?.exportSupport);
    return backend.lookup(slot, slot.nodeid, name, freshEntry(slot, validity));
  },
  finish: finishEntry,
};

export const symlink: OperationHandler = {
  begin(slot, backend, validity) {
    if (backend.symlink === undefined) return -ENOSYS;
    const name = slot.fileName();
    const target = slot.string(PATH_MAX - 1);
    return backend.symlink(slot, slot.nodeid, name, target, freshEntry(slot, validity));
  },
  finish: finishEntry,
};

export const mknod: OperationHandler = {
  begin(slot, backend, validity) {
    if (backend.mknod === undefined) return -ENOSYS;
    const o = fuse_mknod_in.offsets;
    return backend.mknod(
      slot,
      slot.nodeid,
      slot.fileName(),
      slot.u32(BODY + o.mode),
      slot.u32(BODY + o.rdev),
      slot.u32(BODY + o.umask),
      freshEntry(slot, validity),
    );
  },
  finish: finishEntry,
};

export const mkdir: OperationHandler = {
  begin(slot, backend, validity) {
    if (backend.mkdir === undefined) return -ENOSYS;
    const o = fuse_mkdir_in.offsets;
    const mode = slot.u32(BODY + o.mode);
    const umask = slot.u32(BODY + o.umask);
    const name = slot.fileName();
    return backend.mkdir(slot, slot.nodeid, name, mode, umask, freshEntry(slot, validity));
  },
  finish: finishEntry,
};

export const unlink: OperationHandler = {
  begin: (slot, backend) => backend.unlink?.(slot, slot.nodeid, slot.fileName()) ?? -ENOSYS,
  finish: finishEmpty,
};

export const rmdir: OperationHandler = {
  begin: (slot, backend) => backend.rmdir?.(slot, slot.nodeid, slot.fileName()) ?? -ENOSYS,
  finish: finishEmpty,
};

export const rename: OperationHandler = {
  begin(slot, backend) {
    if (backend.rename === undefined) return -ENOSYS;
    const newParent = slot.u64(BODY + fuse_rename_in.offsets.newdir);
    return backend.rename(slot, slot.nodeid, slot.fileName(), newParent, slot.fileName(), 0);
  },
  finish: finishEmpty,
};

export const rename2: OperationHandler = {
  begin(slot, backend) {
    if (backend.rename === undefined) return -ENOSYS;
    const newParent = slot.u64(BODY + fuse_rename2_in.offsets.newdir);
    const flags = slot.u32(BODY + fuse_rename2_in.offsets.flags);
    return backend.rename(slot, slot.nodeid, slot.fileName(), newParent, slot.fileName(), flags);
  },
  finish: finishEmpty,
};

export const link: OperationHandler = {
  begin(slot, backend, validity) {
    if (backend.link === undefined) return -ENOSYS;
    // The header names the new parent; the node that gets another name is the argument.
    const nodeid = slot.u64(BODY + fuse_link_in.offsets.oldnodeid);
    return backend.link(slot, nodeid, slot.nodeid, slot.fileName(), freshEntry(slot, validity));
  },
  finish: finishEntry,
};

export const create: OperationHandler = {
  begin(slot, backend, validity) {
    if (backend.create === undefined) return -ENOSYS;
    const o = fuse_create_in.offsets;
    return backend.create(
      slot,
      slot.nodeid,
      slot.fileName(),
      slot.u32(BODY + o.mode),
      slot.u32(BODY + o.umask),
      slot.u32(BODY + o.flags),
      freshEntry(slot, validity),
      slot.freshOpen(),
      slot.u32(BODY + o.open_flags),
    );
  },
  finish: finishEntryAndOpen,
};

export const tmpfile: OperationHandler = {
  begin(slot, backend, validity) {
    if (backend.tmpfile === undefined) return -ENOSYS;
    const o = fuse_create_in.offsets;
    return backend.tmpfile(
      slot,
      slot.nodeid,
      slot.u32(BODY + o.mode),
      slot.u32(BODY + o.umask),
      slot.u32(BODY + o.flags),
      freshEntry(slot, validity),
      slot.freshOpen(),
      slot.u32(BODY + o.open_flags),
    );
  },
  finish: finishEntryAndOpen,
};
