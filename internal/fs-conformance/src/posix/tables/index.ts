import { access, chmod, chown } from "./chmod.js";
import { copy, data, fallocate, seek, truncate } from "./data.js";
import { readdir } from "./directories.js";
import { link, readlink, symlink } from "./link.js";
import { locks } from "./locks.js";
import { mkdir } from "./mkdir.js";
import { mknod } from "./mknod.js";
import { open } from "./open.js";
import { rename } from "./rename.js";
import { utimens } from "./times.js";
import { unlink } from "./unlink.js";
import { xattr } from "./xattr.js";

/** The tables, by operation. */
export const tables: Readonly<Record<string, string>> = {
  access,
  chmod,
  chown,
  copy,
  data,
  fallocate,
  link,
  locks,
  mkdir,
  mknod,
  open,
  readdir,
  readlink,
  rename,
  seek,
  symlink,
  truncate,
  unlink,
  utimens,
  xattr,
};
