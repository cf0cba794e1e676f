import fc from "fast-check";
import type { Feature, Target } from "../target.js";

/** What a file system needs for a kind of command, or none. */
interface Kind {
  readonly weight: number;
  readonly needs?: Feature;
  readonly command: fc.Arbitrary<string>;
}

/** Joins words, each a constant or arbitrary, by spaces. */
function words(
  ...parts: readonly (string | fc.Arbitrary<string | number>)[]
): fc.Arbitrary<string> {
  const each = parts.map((part) => (typeof part === "string" ? fc.constant(part) : part));
  return fc.tuple(...each).map((found) => found.join(" "));
}

// Few names, so that commands meet.
const name = fc.constantFrom("a", "b", "c", "d");
const slot = fc.constantFrom(0, 1, 2);
const known = fc.constantFrom(
  "a",
  "a/b",
  "a/c",
  "a/g",
  "b",
  "b/a",
  "b/c",
  "b/d",
  "c",
  "d",
  "d/c",
  "e",
  "f",
  "g",
);
const path = fc.oneof(
  { weight: 6, arbitrary: known },
  { weight: 2, arbitrary: fc.tuple(name, name).map((parts) => parts.join("/")) },
  { weight: 1, arbitrary: fc.tuple(name, name, name).map((parts) => parts.join("/")) },
  { weight: 1, arbitrary: fc.tuple(slot, name).map(([at, below]) => `@${at}/${below}`) },
);
/** A name, or an open file. */
const file = fc.oneof(
  { weight: 3, arbitrary: path },
  { weight: 1, arbitrary: slot.map((at) => `@${at}`) },
);
const mode = fc.constantFrom(
  "0644",
  "0755",
  "0600",
  "0444",
  "0777",
  "0000",
  "04755",
  "02755",
  "01777",
  "06711",
);
const id = fc.constantFrom(-1, 0, 1001, 1002);
const owner = fc.tuple(id, id).map((ids) => ids.join(" "));
const offset = fc.oneof(fc.constantFrom(0, 1, 4095, 4096, 8192), fc.nat(20_000));
const length = fc.oneof(fc.constantFrom(0, 1, 4096), fc.nat(9000));
const content = fc.oneof(
  fc.constantFrom("hello", "x"),
  fc.tuple(length, fc.integer({ min: 1, max: 99 })).map(([count, seed]) => `#${count}:${seed}`),
);
const time = fc.oneof(
  fc.constantFrom("now", "omit"),
  fc.nat(2 ** 30).map((seconds) => `${seconds}.${(seconds * 7919) % 1_000_000_000}`),
);
const openFlags = fc
  .tuple(
    fc.constantFrom("O_RDONLY", "O_WRONLY", "O_RDWR"),
    fc.subarray(["O_CREAT", "O_EXCL", "O_TRUNC", "O_APPEND", "O_NOFOLLOW", "O_DIRECTORY"], {
      maxLength: 3,
    }),
  )
  .filter(([, more]) => !(more.includes("O_CREAT") && more.includes("O_DIRECTORY")))
  .map(([access, more]) => [access, ...more].join("|"));
// ext4 has room for one block of them.
const value = fc.constantFrom("hello", "''", "#700:3");
const xattr = fc.constantFrom("user.a", "user.b");
const lockType = fc.constantFrom("F_RDLCK", "F_WRLCK", "F_UNLCK");

const kinds: readonly Kind[] = [
  { weight: 6, command: words("mkdir", path, mode) },
  { weight: 3, command: words("rmdir", path) },
  { weight: 3, command: words("unlink", path) },
  { weight: 6, command: words("rename", path, path) },
  {
    weight: 3,
    command: words(
      "rename",
      path,
      path,
      fc.constantFrom("RENAME_NOREPLACE", "RENAME_EXCHANGE", "RENAME_EXCHANGE|RENAME_NOREPLACE"),
    ),
  },
  { weight: 1, needs: "whiteout", command: words("rename", path, path, "RENAME_WHITEOUT") },
  { weight: 5, command: words("link", path, path) },
  { weight: 1, command: words("link", path, path, "AT_SYMLINK_FOLLOW") },
  {
    weight: 4,
    command: words("symlink", fc.constantFrom("a", "b/c", "a/../d", ".", "no/where"), path),
  },
  { weight: 2, command: words("readlink", path) },
  { weight: 1, command: words("mknod", path, mode) },
  {
    weight: 2,
    needs: "kernel",
    command: fc
      .tuple(path, fc.constantFrom("S_IFIFO", "S_IFSOCK"), mode)
      .map(([at, type, bits]) => `mknod ${at} ${type}|${bits}`),
  },
  { weight: 1, needs: "kernel", command: words("open", slot, path, "O_PATH") },
  { weight: 8, command: words("open", slot, path, openFlags, mode) },
  { weight: 3, command: words("open", slot, path, "O_RDWR|O_CREAT", "0666") },
  { weight: 1, needs: "tmpfile", command: words("open", slot, path, "O_RDWR|O_TMPFILE", mode) },
  { weight: 1, needs: "tmpfile", command: words("linkfd", slot, path) },
  { weight: 2, command: words("close", slot) },
  { weight: 6, command: words("write", path, content, mode) },
  { weight: 5, command: words("pwrite", slot, content, offset) },
  { weight: 2, command: words("append", slot, content) },
  { weight: 3, command: words("pread", slot, length, offset) },
  { weight: 2, command: words("read", slot, length) },
  { weight: 3, command: words("cat", path) },
  { weight: 4, command: words("truncate", file, offset) },
  {
    weight: 1,
    command: words("lseek", slot, offset, fc.constantFrom("SEEK_SET", "SEEK_CUR", "SEEK_END")),
  },
  {
    weight: 1,
    needs: "same-holes",
    command: words("lseek", slot, offset, fc.constantFrom("SEEK_DATA", "SEEK_HOLE")),
  },
  {
    weight: 2,
    command: words(
      "fallocate",
      slot,
      fc.constantFrom("0", "FALLOC_FL_KEEP_SIZE", "FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE"),
      offset,
      length,
    ),
  },
  { weight: 2, command: words("copy", slot, offset, slot, offset, length) },
  { weight: 1, command: words(fc.constantFrom("fsync", "fdatasync"), slot) },
  { weight: 5, command: words("chmod", file, mode) },
  { weight: 4, command: words(fc.constantFrom("chown", "lchown"), path, owner) },
  {
    weight: 1,
    command: words(
      "chown",
      slot.map((at) => `@${at}`),
      owner,
    ),
  },
  { weight: 3, command: words("utimens", file, time, time) },
  { weight: 1, command: words("lutimens", path, time, time) },
  {
    weight: 5,
    command: words(fc.constantFrom("stat", "lstat"), file, "type,mode,nlink,uid,gid,size,mtime"),
  },
  { weight: 1, command: words("same", path, path) },
  {
    weight: 2,
    command: words("access", path, fc.constantFrom("F_OK", "R_OK", "W_OK", "X_OK", "R_OK|W_OK")),
  },
  { weight: 3, command: words("readdir", path) },
  {
    weight: 3,
    command: words(
      "setxattr",
      file,
      xattr,
      value,
      fc.constantFrom("0", "0", "XATTR_CREATE", "XATTR_REPLACE"),
    ),
  },
  { weight: 1, command: words("getxattr", file, xattr, fc.constantFrom(0, 3, 65536)) },
  { weight: 1, command: words("listxattr", file) },
  { weight: 1, command: words("removexattr", file, xattr) },
  { weight: 1, command: words("umask", fc.constantFrom("0", "022", "077")) },
  { weight: 1, command: words("flock", slot, fc.constantFrom("LOCK_SH", "LOCK_EX", "LOCK_UN")) },
  {
    weight: 2,
    command: words(fc.constantFrom("lock", "getlk"), slot, lockType, fc.nat(20), fc.nat(20)),
  },
];

const users = ["as 1001:1001 ", "as 1002:1002 ", "as 1001:1002 "];
const userOfTwoGroups = "as 1002:1002+1001 ";

/** The user and process of a command: mostly root and the first. */
function where(lacks: readonly Feature[]): fc.Arbitrary<string> {
  const known = lacks.includes("groups") ? users : [...users, userOfTwoGroups];
  return fc.oneof(
    { weight: 12, arbitrary: fc.constant("") },
    { weight: 4, arbitrary: fc.constantFrom(...known) },
    { weight: 1, arbitrary: fc.constantFrom("in 1 ", "in 1 as 1001:1001 ") },
  );
}

/** A tree for commands to start from: anybody may write its root. */
export const beginning: readonly string[] = [
  "reset",
  "chmod . 0777",
  "mkdir a 0777",
  "mkdir a/b",
  "mkdir b",
  "write c #5000:1 0666",
  "write a/c hello",
  "link a/c b/d",
  "symlink a d",
  "write e #20000:2 0600",
  "open 0 c O_RDWR",
  "open 1 e O_RDWR",
  "open 2 a O_RDONLY|O_DIRECTORY",
];

/**
 * Of a set-id program by strangers: EPERM, unless it is open for writing by anybody. Then the kernel's FUSE
 * client asks the same before they write, and a server cannot tell one from the other.
 */
const undecidable = /as \S+ l?chown \S+ -1 -1$/;

/** Sequences of commands that a file system can be asked for. */
export function sequences({ lacks = [], commands }: Target): fc.Arbitrary<string[]> {
  const possible = kinds.filter(({ needs }) => needs === undefined || !lacks.includes(needs));
  const any = fc.oneof(...possible.map(({ weight, command }) => ({ weight, arbitrary: command })));
  const command =
    commands === undefined
      ? fc
          .tuple(where(lacks), any)
          .map((parts) => parts.join(""))
          .filter((text) => !undecidable.test(text))
      : any.filter((text) => commands.has(text.split(" ", 1)[0] ?? ""));
  return fc.array(command, { minLength: 1, maxLength: 100, size: "max" });
}
