import * as op from "@supermachine/fuse-protocol";
import { removeMapping, setupMapping } from "./dax.js";
import { fsyncdir, opendir, readdir, readdirplus, releasedir } from "./directory.js";
import {
  bmap,
  copyFileRange,
  copyFileRange64,
  fallocate,
  flush,
  fsync,
  ioctl,
  lseek,
  open,
  poll,
  read,
  release,
  write,
} from "./file.js";
import { getlk, setlk, setlkw } from "./lock.js";
import {
  create,
  link,
  lookup,
  mkdir,
  mknod,
  rename,
  rename2,
  rmdir,
  symlink,
  tmpfile,
  unlink,
} from "./name.js";
import { access, getattr, readlink, setattr, statfs, statx, syncfs } from "./node.js";
import type { OperationHandler } from "./operation-handler.js";
import { getxattr, listxattr, removexattr, setxattrHandler } from "./xattr.js";

const byOpcode: readonly (readonly [opcode: number, handler: OperationHandler])[] = [
  [op.FUSE_LOOKUP, lookup],
  [op.FUSE_GETATTR, getattr],
  [op.FUSE_SETATTR, setattr],
  [op.FUSE_READLINK, readlink],
  [op.FUSE_SYMLINK, symlink],
  [op.FUSE_MKNOD, mknod],
  [op.FUSE_MKDIR, mkdir],
  [op.FUSE_UNLINK, unlink],
  [op.FUSE_RMDIR, rmdir],
  [op.FUSE_RENAME, rename],
  [op.FUSE_LINK, link],
  [op.FUSE_OPEN, open],
  [op.FUSE_READ, read],
  [op.FUSE_WRITE, write],
  [op.FUSE_STATFS, statfs],
  [op.FUSE_RELEASE, release],
  [op.FUSE_FSYNC, fsync],
  [op.FUSE_GETXATTR, getxattr],
  [op.FUSE_LISTXATTR, listxattr],
  [op.FUSE_REMOVEXATTR, removexattr],
  [op.FUSE_FLUSH, flush],
  [op.FUSE_OPENDIR, opendir],
  [op.FUSE_READDIR, readdir],
  [op.FUSE_RELEASEDIR, releasedir],
  [op.FUSE_FSYNCDIR, fsyncdir],
  [op.FUSE_GETLK, getlk],
  [op.FUSE_SETLK, setlk],
  [op.FUSE_SETLKW, setlkw],
  [op.FUSE_ACCESS, access],
  [op.FUSE_CREATE, create],
  [op.FUSE_BMAP, bmap],
  [op.FUSE_IOCTL, ioctl],
  [op.FUSE_POLL, poll],
  [op.FUSE_FALLOCATE, fallocate],
  [op.FUSE_READDIRPLUS, readdirplus],
  [op.FUSE_RENAME2, rename2],
  [op.FUSE_LSEEK, lseek],
  [op.FUSE_COPY_FILE_RANGE, copyFileRange],
  [op.FUSE_SETUPMAPPING, setupMapping],
  [op.FUSE_REMOVEMAPPING, removeMapping],
  [op.FUSE_SYNCFS, syncfs],
  [op.FUSE_TMPFILE, tmpfile],
  [op.FUSE_STATX, statx],
  [op.FUSE_COPY_FILE_RANGE_64, copyFileRange64],
];

/** The operations that go to the backend, indexed by opcode. */
export type HandlerTable = readonly (OperationHandler | undefined)[];

function buildTable(extendedSetxattr: boolean): HandlerTable {
  const table = new Array<OperationHandler | undefined>(op.operations.length).fill(undefined);
  for (const [opcode, handler] of byOpcode) table[opcode] = handler;
  table[op.FUSE_SETXATTR] = setxattrHandler(extendedSetxattr);
  return table;
}

/** For clients with FUSE_SETXATTR_EXT, which changes the layout of SETXATTR. */
export const extendedHandlers = buildTable(true);
export const handlers = buildTable(false);
