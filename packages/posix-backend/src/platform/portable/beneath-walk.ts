import {
  EINVAL,
  ELOOP,
  ENOENT,
  ENOTDIR,
  EXDEV,
  PATH_MAX,
  S_IFLNK,
} from "@supermachine/fuse-protocol";
import type { CString } from "../../syscalls/linux.js";
import { statxStruct } from "../../syscalls/structs.js";
import type { Holding } from "./holding.js";
import { typeIn } from "./inode-identity.js";
import type { PosixCalls } from "./posix-calls.js";

/** As Linux has it: more are taken for a loop. */
const MAX_LINKS = 40;

/**
 * What openat2(2) does with RESOLVE_BENEATH, where there is none: walks a path component by component, each looked
 * up below the directory before it. Symbolic links are read, and never followed by the host; `..` goes back to the
 * directory that the walk came from, which no rename can change, and never above where it began.
 *
 * @param path - Ended with a NUL.
 * @returns A handle; or an errno: EXDEV where the path would leave `root`.
 */
export function walkBeneath(
  calls: PosixCalls,
  holding: Holding,
  root: number,
  path: CString,
): number {
  const components = componentsOf(path.subarray(0, path.indexOf(0)));
  if (components === undefined) return -EXDEV;
  /** Handles of the directories from the root to where the walk is. */
  const reached = [root];
  try {
    return walk(calls, holding, reached, components);
  } finally {
    for (const directory of reached.slice(1)) holding.close(directory);
  }
}

function walk(calls: PosixCalls, holding: Holding, reached: number[], ahead: string[]): number {
  const statx = new Uint8Array(statxStruct.size);
  const view = new DataView(statx.buffer);
  const target = Buffer.alloc(PATH_MAX);
  let links = 0;
  for (;;) {
    const here = reached.at(-1) ?? -1;
    const name = ahead.shift();
    if (name === ".") continue;
    // The path ended with `.` or `..`.
    if (name === undefined) return holding.openMade(here, here, undefined);
    if (name === "..") {
      if (reached.length === 1) return -EXDEV;
      holding.close(reached.pop() ?? -1);
      continue;
    }
    const bytes = Buffer.from(`${name}\0`, "latin1");
    const directory = holding.directory(here);
    const failure = directory < 0 ? directory : calls.fstatAt(directory, bytes, statx);
    if (failure < 0) return failure;
    if (typeIn(view) === S_IFLNK) {
      if (++links > MAX_LINKS) return -ELOOP;
      const length = calls.readlinkAt(directory, bytes, target);
      if (length < 0) return length === -EINVAL ? -ELOOP : length;
      if (length === 0) return -ENOENT;
      const more = componentsOf(target.subarray(0, length));
      if (more === undefined) return -EXDEV;
      ahead.unshift(...more);
      if (ahead.length > PATH_MAX) return -ELOOP;
      continue;
    }
    const next = holding.open(here, bytes);
    if (next < 0 || ahead.length === 0) return next;
    reached.push(next);
    if (!holding.isDirectory(next)) return -ENOTDIR;
  }
}

/** Undefined for an absolute path. A path that ends with a slash ends in a directory, as with `.` after it. */
function componentsOf(path: Uint8Array): string[] | undefined {
  const text = Buffer.from(path.buffer, path.byteOffset, path.length).toString("latin1");
  if (text.startsWith("/")) return undefined;
  const components = text.split("/").filter((component) => component !== "");
  return text.endsWith("/") ? [...components, "."] : components;
}
