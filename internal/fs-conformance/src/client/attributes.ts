import {
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from "@supermachine/fuse-protocol";
import type { Attr } from "@supermachine/fuse-server";

const TYPES: Readonly<Record<number, string>> = {
  [S_IFREG]: "regular",
  [S_IFDIR]: "directory",
  [S_IFLNK]: "symlink",
  [S_IFIFO]: "fifo",
  [S_IFSOCK]: "socket",
  [S_IFCHR]: "char",
  [S_IFBLK]: "block",
};
const TIMES = ["atime", "mtime", "ctime"] as const;

/** One attribute, as the executor shows it (executor/attributes.c). */
export function field(attr: Attr, name: string): string {
  const type = attr.mode & S_IFMT;
  switch (name) {
    case "type":
      return TYPES[type] ?? "unknown";
    case "mode":
      return (attr.mode & 0o7777).toString(8).padStart(4, "0");
    case "size":
      return type === S_IFDIR ? "-" : String(attr.size);
    case "nlink":
    case "uid":
    case "gid":
      return String(attr[name]);
    case "atime":
    case "mtime":
    case "ctime":
      return time(attr[name], attr[`${name}nsec`]);
    default:
      throw new TypeError(`there is no field ${name}`);
  }
}

/** The present differs from run to run, so it is "now". */
function time(seconds: number, nanoseconds: number): string {
  if (Math.abs(Date.now() / 1000 - seconds) < 3600) return "now";
  return `${seconds}.${String(nanoseconds).padStart(9, "0")}`;
}

/** The times that are later now, and those that are earlier. */
export function laterTimes(before: Attr, after: Attr): string {
  const changed = TIMES.flatMap((name) => {
    const moved = after[name] - before[name] || after[`${name}nsec`] - before[`${name}nsec`];
    if (moved === 0) return [];
    return moved > 0 ? [name] : [`earlier-${name}`];
  });
  return changed.length === 0 ? "none" : changed.join(",");
}
