import { GuestError } from "./errors.js";

/** A directory, file, symbolic link or character device of an initramfs, owned by root. */
export type InitramfsEntry =
  | { path: string; type: "directory"; mode?: number }
  | { path: string; type: "file"; mode?: number; data: Uint8Array }
  | { path: string; type: "symlink"; target: string }
  | { path: string; type: "character-device"; mode?: number; major: number; minor: number };

const TYPE_BITS = {
  directory: 0o040000,
  file: 0o100000,
  symlink: 0o120000,
  "character-device": 0o020000,
} as const;
const DEFAULT_MODE = {
  directory: 0o755,
  file: 0o644,
  symlink: 0o777,
  "character-device": 0o600,
} as const;

const TRAILER = "TRAILER!!!";
const HEADER_SIZE = 110;
/** The kernel's limit (init/initramfs.c takes names up to PATH_MAX). */
const PATH_MAX = 4096;

/**
 * Writes a cpio archive in the "newc" format of Documentation/driver-api/early-userspace/buffer-format.rst,
 * uncompressed. Parents come before their children, in the order given. The same entries give the same bytes.
 *
 * @throws {@link GuestError} ERR_INITRAMFS_ENTRY for a path that is not plain and relative, or a duplicate.
 */
export function writeInitramfs(entries: readonly InitramfsEntry[]): Uint8Array {
  const parts: Buffer[] = [];
  const seen = new Set<string>();
  let inode = 0;
  for (const entry of entries) {
    checkPath(entry.path, seen);
    inode += 1;
    const data =
      entry.type === "file"
        ? entry.data
        : entry.type === "symlink"
          ? Buffer.from(entry.target)
          : new Uint8Array(0);
    const mode =
      TYPE_BITS[entry.type] |
      ("mode" in entry && entry.mode !== undefined
        ? entry.mode & 0o7777
        : DEFAULT_MODE[entry.type]);
    const device = entry.type === "character-device" ? entry : { major: 0, minor: 0 };
    parts.push(encodeMember(entry.path, inode, mode, data, device));
  }
  parts.push(encodeMember(TRAILER, 0, 0, new Uint8Array(0), { major: 0, minor: 0 }));
  return Buffer.concat(parts);
}

function encodeMember(
  path: string,
  inode: number,
  mode: number,
  data: Uint8Array,
  device: { major: number; minor: number },
): Buffer {
  const name = Buffer.from(`${path}\0`);
  // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
  const fields = [
    inode,
    mode,
    0,
    0,
    1,
    0,
    data.length,
    0,
    0,
    device.major,
    device.minor,
    name.length,
    0,
  ];
  const header = `070701${fields.map((value) => value.toString(16).padStart(8, "0")).join("")}`;
  const dataStart = align4(HEADER_SIZE + name.length);
  const member = Buffer.alloc(align4(dataStart + data.length));
  member.write(header, 0, "latin1");
  name.copy(member, HEADER_SIZE);
  member.set(data, dataStart);
  return member;
}

function checkPath(path: string, seen: Set<string>): void {
  const plain = path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  const reason =
    !plain || path.includes("\0")
      ? "is not a plain relative path"
      : path === TRAILER
        ? "is the name that ends an archive"
        : Buffer.byteLength(path) >= PATH_MAX
          ? "is too long"
          : seen.has(path)
            ? "appears twice"
            : undefined;
  if (reason) {
    throw new GuestError(
      "ERR_INITRAMFS_ENTRY",
      `initramfs entry ${JSON.stringify(path)} ${reason}`,
    );
  }
  seen.add(path);
}

function align4(size: number): number {
  return (size + 3) & ~3;
}
