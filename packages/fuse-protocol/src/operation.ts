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

const rows = new Map<string, Row>([
  ["LOOKUP", { names: 1, reply: fuse_entry_out }],
  ["FORGET", { request: fuse_forget_in, replies: false }],
  ["GETATTR", { request: fuse_getattr_in, reply: fuse_attr_out }],
  ["SETATTR", { request: fuse_setattr_in, reply: fuse_attr_out }],
  ["READLINK", {}],
  ["SYMLINK", { names: 2, reply: fuse_entry_out }],
  ["MKNOD", { request: fuse_mknod_in, names: 1, reply: fuse_entry_out }],
  ["MKDIR", { request: fuse_mkdir_in, names: 1, reply: fuse_entry_out }],
  ["UNLINK", { names: 1 }],
  ["RMDIR", { names: 1 }],
  ["RENAME", { request: fuse_rename_in, names: 2 }],
  ["LINK", { request: fuse_link_in, names: 1, reply: fuse_entry_out }],
  ["OPEN", { request: fuse_open_in, reply: fuse_open_out }],
  ["READ", { request: fuse_read_in }],
  ["WRITE", { request: fuse_write_in, reply: fuse_write_out }],
  ["STATFS", { reply: fuse_statfs_out }],
  ["RELEASE", { request: fuse_release_in }],
  ["FSYNC", { request: fuse_fsync_in }],
  ["SETXATTR", { request: fuse_setxattr_in, minimum: FUSE_COMPAT_SETXATTR_IN_SIZE, names: 1 }],
  ["GETXATTR", { request: fuse_getxattr_in, names: 1 }],
  ["LISTXATTR", { request: fuse_getxattr_in }],
  ["REMOVEXATTR", { names: 1 }],
  ["FLUSH", { request: fuse_flush_in }],
  ["INIT", { request: fuse_init_in, minimum: fuse_init_in.offsets.flags2, reply: fuse_init_out }],
  ["OPENDIR", { request: fuse_open_in, reply: fuse_open_out }],
  ["READDIR", { request: fuse_read_in }],
  ["RELEASEDIR", { request: fuse_release_in }],
  ["FSYNCDIR", { request: fuse_fsync_in }],
  ["GETLK", { request: fuse_lk_in, reply: fuse_lk_out }],
  ["SETLK", { request: fuse_lk_in }],
  ["SETLKW", { request: fuse_lk_in }],
  ["ACCESS", { request: fuse_access_in }],
  // The reply is fuse_entry_out followed by fuse_open_out.
  ["CREATE", { request: fuse_create_in, names: 1, reply: fuse_entry_out }],
  ["INTERRUPT", { request: fuse_interrupt_in, replies: false }],
  ["BMAP", { request: fuse_bmap_in, reply: fuse_bmap_out }],
  ["DESTROY", {}],
  ["IOCTL", { request: fuse_ioctl_in, reply: fuse_ioctl_out }],
  ["POLL", { request: fuse_poll_in, reply: fuse_poll_out }],
  ["NOTIFY_REPLY", { request: fuse_notify_retrieve_in, replies: false }],
  ["BATCH_FORGET", { request: fuse_batch_forget_in, replies: false }],
  ["FALLOCATE", { request: fuse_fallocate_in }],
  ["READDIRPLUS", { request: fuse_read_in }],
  ["RENAME2", { request: fuse_rename2_in, names: 2 }],
  ["LSEEK", { request: fuse_lseek_in, reply: fuse_lseek_out }],
  ["COPY_FILE_RANGE", { request: fuse_copy_file_range_in, reply: fuse_write_out }],
  ["SETUPMAPPING", { request: fuse_setupmapping_in }],
  ["REMOVEMAPPING", { request: fuse_removemapping_in }],
  ["SYNCFS", { request: fuse_syncfs_in }],
  // Linux sends the name "/" with it; the reply is as for CREATE.
  ["TMPFILE", { request: fuse_create_in, reply: fuse_entry_out }],
  ["STATX", { request: fuse_statx_in, reply: fuse_statx_out }],
  ["COPY_FILE_RANGE_64", { request: fuse_copy_file_range_in, reply: fuse_copy_file_range_out }],
]);

function operationOf(name: string, row: Row): Operation {
  const number = opcode[`FUSE_${name}` as keyof typeof opcode];
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
  for (const [name, row] of rows) {
    const operation = operationOf(name, row);
    table[operation.opcode] = operation;
  }
  // A table with holes would be slow to index.
  return Object.freeze(Array.from(table));
}

/** Every FUSE operation, indexed by opcode; numbers without an operation hold `undefined`. */
export const operations: readonly (Operation | undefined)[] = buildTable();
