import type { Struct } from "@supermachine-internal/struct";
import { fuse_removemapping_in, fuse_setupmapping_in } from "./abi/dax.js";
import {
  fuse_link_in,
  fuse_mkdir_in,
  fuse_mknod_in,
  fuse_rename_in,
  fuse_rename2_in,
} from "./abi/directory.js";
import {
  fuse_bmap_in,
  fuse_bmap_out,
  fuse_copy_file_range_in,
  fuse_copy_file_range_out,
  fuse_create_in,
  fuse_fallocate_in,
  fuse_flush_in,
  fuse_fsync_in,
  fuse_ioctl_in,
  fuse_ioctl_out,
  fuse_lseek_in,
  fuse_lseek_out,
  fuse_open_in,
  fuse_open_out,
  fuse_poll_in,
  fuse_poll_out,
  fuse_read_in,
  fuse_release_in,
  fuse_write_in,
  fuse_write_out,
} from "./abi/file.js";
import { fuse_init_in, fuse_init_out } from "./abi/init.js";
import { fuse_lk_in, fuse_lk_out } from "./abi/lock.js";
import { fuse_interrupt_in } from "./abi/message.js";
import {
  fuse_access_in,
  fuse_attr_out,
  fuse_batch_forget_in,
  fuse_entry_out,
  fuse_forget_in,
  fuse_getattr_in,
  fuse_setattr_in,
  fuse_statfs_out,
  fuse_statx_in,
  fuse_statx_out,
  fuse_syncfs_in,
} from "./abi/node.js";
import { fuse_notify_retrieve_in } from "./abi/notify.js";
import * as opcode from "./abi/opcode.js";
import { FUSE_COMPAT_SETXATTR_IN_SIZE, fuse_getxattr_in, fuse_setxattr_in } from "./abi/xattr.js";

/** How the messages of one opcode are built: what decoding, dispatch and printing go by. */
export interface Operation {
  /** As in `enum fuse_opcode`, without the prefix: `LOOKUP`. */
  readonly name: string;
  readonly opcode: number;
  /** The struct after the request header, if any. */
  readonly request: Struct | undefined;
  /** The fewest bytes of it that a supported client sends: older minors end early. */
  readonly minimum: number;
  /** How many NUL-terminated strings follow. */
  readonly names: 0 | 1 | 2;
  /** The struct after the reply header of a successful reply, if any. */
  readonly reply: Struct | undefined;
  /** Whether the client waits for a reply. */
  readonly replies: boolean;
}

interface Row {
  readonly request?: Struct;
  readonly minimum?: number;
  readonly names?: 1 | 2;
  readonly reply?: Struct;
  readonly replies?: false;
}

const rows: readonly (readonly [name: string, opcode: number, row: Row])[] = [
  ["LOOKUP", opcode.FUSE_LOOKUP, { names: 1, reply: fuse_entry_out }],
  ["FORGET", opcode.FUSE_FORGET, { request: fuse_forget_in, replies: false }],
  ["GETATTR", opcode.FUSE_GETATTR, { request: fuse_getattr_in, reply: fuse_attr_out }],
  ["SETATTR", opcode.FUSE_SETATTR, { request: fuse_setattr_in, reply: fuse_attr_out }],
  ["READLINK", opcode.FUSE_READLINK, {}],
  ["SYMLINK", opcode.FUSE_SYMLINK, { names: 2, reply: fuse_entry_out }],
  ["MKNOD", opcode.FUSE_MKNOD, { request: fuse_mknod_in, names: 1, reply: fuse_entry_out }],
  ["MKDIR", opcode.FUSE_MKDIR, { request: fuse_mkdir_in, names: 1, reply: fuse_entry_out }],
  ["UNLINK", opcode.FUSE_UNLINK, { names: 1 }],
  ["RMDIR", opcode.FUSE_RMDIR, { names: 1 }],
  ["RENAME", opcode.FUSE_RENAME, { request: fuse_rename_in, names: 2 }],
  ["LINK", opcode.FUSE_LINK, { request: fuse_link_in, names: 1, reply: fuse_entry_out }],
  ["OPEN", opcode.FUSE_OPEN, { request: fuse_open_in, reply: fuse_open_out }],
  ["READ", opcode.FUSE_READ, { request: fuse_read_in }],
  ["WRITE", opcode.FUSE_WRITE, { request: fuse_write_in, reply: fuse_write_out }],
  ["STATFS", opcode.FUSE_STATFS, { reply: fuse_statfs_out }],
  ["RELEASE", opcode.FUSE_RELEASE, { request: fuse_release_in }],
  ["FSYNC", opcode.FUSE_FSYNC, { request: fuse_fsync_in }],
  [
    "SETXATTR",
    opcode.FUSE_SETXATTR,
    { request: fuse_setxattr_in, minimum: FUSE_COMPAT_SETXATTR_IN_SIZE, names: 1 },
  ],
  ["GETXATTR", opcode.FUSE_GETXATTR, { request: fuse_getxattr_in, names: 1 }],
  ["LISTXATTR", opcode.FUSE_LISTXATTR, { request: fuse_getxattr_in }],
  ["REMOVEXATTR", opcode.FUSE_REMOVEXATTR, { names: 1 }],
  ["FLUSH", opcode.FUSE_FLUSH, { request: fuse_flush_in }],
  [
    "INIT",
    opcode.FUSE_INIT,
    { request: fuse_init_in, minimum: fuse_init_in.offsets.flags2, reply: fuse_init_out },
  ],
  ["OPENDIR", opcode.FUSE_OPENDIR, { request: fuse_open_in, reply: fuse_open_out }],
  ["READDIR", opcode.FUSE_READDIR, { request: fuse_read_in }],
  ["RELEASEDIR", opcode.FUSE_RELEASEDIR, { request: fuse_release_in }],
  ["FSYNCDIR", opcode.FUSE_FSYNCDIR, { request: fuse_fsync_in }],
  ["GETLK", opcode.FUSE_GETLK, { request: fuse_lk_in, reply: fuse_lk_out }],
  ["SETLK", opcode.FUSE_SETLK, { request: fuse_lk_in }],
  ["SETLKW", opcode.FUSE_SETLKW, { request: fuse_lk_in }],
  ["ACCESS", opcode.FUSE_ACCESS, { request: fuse_access_in }],
  // The reply is fuse_entry_out followed by fuse_open_out.
  ["CREATE", opcode.FUSE_CREATE, { request: fuse_create_in, names: 1, reply: fuse_entry_out }],
  ["INTERRUPT", opcode.FUSE_INTERRUPT, { request: fuse_interrupt_in, replies: false }],
  ["BMAP", opcode.FUSE_BMAP, { request: fuse_bmap_in, reply: fuse_bmap_out }],
  ["DESTROY", opcode.FUSE_DESTROY, {}],
  ["IOCTL", opcode.FUSE_IOCTL, { request: fuse_ioctl_in, reply: fuse_ioctl_out }],
  ["POLL", opcode.FUSE_POLL, { request: fuse_poll_in, reply: fuse_poll_out }],
  ["NOTIFY_REPLY", opcode.FUSE_NOTIFY_REPLY, { request: fuse_notify_retrieve_in, replies: false }],
  ["BATCH_FORGET", opcode.FUSE_BATCH_FORGET, { request: fuse_batch_forget_in, replies: false }],
  ["FALLOCATE", opcode.FUSE_FALLOCATE, { request: fuse_fallocate_in }],
  ["READDIRPLUS", opcode.FUSE_READDIRPLUS, { request: fuse_read_in }],
  ["RENAME2", opcode.FUSE_RENAME2, { request: fuse_rename2_in, names: 2 }],
  ["LSEEK", opcode.FUSE_LSEEK, { request: fuse_lseek_in, reply: fuse_lseek_out }],
  [
    "COPY_FILE_RANGE",
    opcode.FUSE_COPY_FILE_RANGE,
    { request: fuse_copy_file_range_in, reply: fuse_write_out },
  ],
  ["SETUPMAPPING", opcode.FUSE_SETUPMAPPING, { request: fuse_setupmapping_in }],
  ["REMOVEMAPPING", opcode.FUSE_REMOVEMAPPING, { request: fuse_removemapping_in }],
  ["SYNCFS", opcode.FUSE_SYNCFS, { request: fuse_syncfs_in }],
  // Linux sends the name "/" with it; the reply is as for CREATE.
  ["TMPFILE", opcode.FUSE_TMPFILE, { request: fuse_create_in, reply: fuse_entry_out }],
  ["STATX", opcode.FUSE_STATX, { request: fuse_statx_in, reply: fuse_statx_out }],
  [
    "COPY_FILE_RANGE_64",
    opcode.FUSE_COPY_FILE_RANGE_64,
    { request: fuse_copy_file_range_in, reply: fuse_copy_file_range_out },
  ],
];

function operationOf(name: string, number: number, row: Row): Operation {
  return Object.freeze({
    name,
    opcode: number,
    request: row.request,
    minimum: row.minimum ?? row.request?.size ?? 0,
    names: row.names ?? 0,
    reply: row.reply,
    replies: row.replies ?? true,
  });
}

function buildTable(): readonly (Operation | undefined)[] {
  const table: (Operation | undefined)[] = [];
  for (const [name, number, row] of rows) table[number] = operationOf(name, number, row);
  // A table with holes would be slow to index.
  return Object.freeze(Array.from(table));
}

/** Every FUSE operation, indexed by opcode; numbers without an operation hold `undefined`. */
export const operations: readonly (Operation | undefined)[] = buildTable();
