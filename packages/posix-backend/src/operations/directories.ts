/** Operations on open directories. */
import {
  DT_LNK,
  DT_UNKNOWN,
  EBADF,
  ENFILE,
  ENOENT,
  ENOTDIR,
  ESTALE,
  FOPEN_CACHE_DIR,
  FOPEN_KEEP_CACHE,
  S_IFDIR,
} from "@supermachine/fuse-protocol";
import type { DirectoryPlusSink, DirectorySink, OpenReply } from "@supermachine/fuse-server";
import type { DirectoryReader } from "../handles/directory-reader.js";
import { ROOT_NODEID } from "../nodes/inode-table.js";
import { reopen } from "../platform/host.js";
import type { Share } from "../share.js";
import { O_DIRECTORY } from "../syscalls/constants.js";
import { lookupName } from "./namespace.js";

export function opendir(share: Share, nodeid: number, reply: OpenReply): number {
  const inode = share.inodes.fd(nodeid);
  if (inode < 0) return inode;
  if (share.inodes.type(nodeid) !== S_IFDIR) return -ENOTDIR;
  if (share.handles.full) return -ENFILE;
  const fd = reopen(share.procFd, inode, O_DIRECTORY);
  if (fd < 0) return fd;
  reply.fh = share.handles.addDirectory(fd, nodeid);
  reply.flags = share.settings.cache === "always" ? FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE : 0;
  return 0;
}

/** The type to show for a record: a link that may be followed is known only once it is looked up. */
function shownType(share: Share, reader: DirectoryReader): number {
  const mayFollow = share.settings.symlinks === "follow" && reader.type === DT_LNK;
  return mayFollow ? DT_UNKNOWN : reader.type;
}

/** `..` of the root is outside: it is shown as the root itself, as in `/`. */
function shownIno(share: Share, nodeid: number, reader: DirectoryReader): number {
  if (nodeid !== ROOT_NODEID || !reader.isParent) return reader.ino;
  return share.stat.read(share.inodes.rootFd) === 0 ? share.stat.ino : reader.ino;
}

export function readdir(
  share: Share,
  nodeid: number,
  fh: number,
  offset: number,
  sink: DirectorySink,
): number {
  const reader = share.handles.reader(fh);
  if (reader === undefined) return -EBADF;
  const failure = reader.seek(offset);
  if (failure < 0) return failure;
  for (;;) {
    const loaded = reader.load();
    if (loaded <= 0) return loaded;
    const { bytes, nameAt, nameEnd, cookie } = reader;
    const ino = shownIno(share, nodeid, reader);
    const type = shownType(share, reader);
    const isAdded =
      sink.addBytes?.(bytes, nameAt, nameEnd, ino, type, cookie) ??
      sink.add(reader.name, ino, type, cookie);
    if (!isAdded) return 0;
    reader.consume();
  }
}

export function readdirplus(
  share: Share,
  nodeid: number,
  fh: number,
  offset: number,
  sink: DirectoryPlusSink,
): number {
  const reader = share.handles.reader(fh);
  if (reader === undefined) return -EBADF;
  if (share.inodes.type(nodeid) === 0) return -ESTALE;
  const failure = reader.seek(offset);
  if (failure < 0) return failure;
  const { entry } = sink;
  for (;;) {
    const loaded = reader.load();
    if (loaded <= 0) return loaded;
    let found = -1;
    const { bytes, nameAt, nameEnd } = reader;
    if (!reader.isDot) {
      const invalid = share.name.setBytes(bytes, nameAt, nameEnd);
      found = invalid < 0 ? invalid : lookupName(share, nodeid, reader.fd, entry);
      // Removed since it was listed.
      if (found === -ENOENT) {
        reader.consume();
        continue;
      }
    }
    if (found < 0) {
      // `.`, `..`, and what cannot be looked up now: the record alone, as readdir gives it.
      entry.nodeid = 0;
      entry.attr.ino = shownIno(share, nodeid, reader);
      entry.attr.mode = shownType(share, reader) << 12;
    }
    const delivered = entry.nodeid;
    const isAdded =
      sink.addBytes?.(bytes, nameAt, nameEnd, reader.cookie) ??
      sink.add(reader.name, reader.cookie);
    if (!isAdded) {
      if (delivered !== 0) share.inodes.forget(delivered, 1);
      return 0;
    }
    reader.consume();
  }
}
