import { decodeName } from "@supermachine-internal/file-name";
import { defineStruct } from "@supermachine-internal/struct";
import { AgentError } from "../errors.js";

/** What a file is. */
export type FileType =
  | "file"
  | "directory"
  | "symlink"
  | "fifo"
  | "socket"
  | "character-device"
  | "block-device"
  | "unknown";

/** A file's attributes. */
export interface FileStat {
  readonly type: FileType;
  /** Bytes of content. */
  readonly size: number;
  /** Permission, set-id and sticky bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** How many names the file has. */
  readonly links: number;
  /** When the content last changed, in milliseconds since 1970. */
  readonly mtimeMs: number;
  /** What a symbolic link names; else `undefined`. */
  readonly target: string | undefined;
}

/** A directory entry. */
export interface FileEntry extends FileStat {
  /**
   * Without the directory. Bytes that are not UTF-8 are lone surrogates U+DC80 to U+DCFF, as in Python.
   */
  readonly name: string;
}

/** agent/files.h */
export const fileRecord = defineStruct("file_record", 40, {
  size: "u64",
  mtime_ns: "s64",
  mode: "u32",
  uid: "u32",
  gid: "u32",
  links: "u32",
  name_length: "u16",
  target_length: "u16",
  reserved: "u32",
});

const at = fileRecord.offsets;

/** By the four bits of `S_IFMT`, see inode(7). */
const TYPES: Readonly<Record<number, FileType>> = {
  1: "fifo",
  2: "character-device",
  4: "directory",
  6: "block-device",
  8: "file",
  10: "symlink",
  12: "socket",
};

function malformed(why: string): AgentError {
  return new AgentError("ERR_AGENT_PROTOCOL", `the agent described a file wrongly: ${why}`);
}

/** Callers join names to paths of their own: one that leads elsewhere must not get that far. */
function checkedName(name: string): string {
  if (name === "" || name === "." || name === ".." || /[/\0]/.test(name)) {
    throw malformed(`${JSON.stringify(name)} cannot be a name`);
  }
  return name;
}

function decodeStat(bytes: Buffer, start: number, target: Uint8Array): FileStat {
  const mode = bytes.readUInt32LE(start + at.mode);
  const type = TYPES[(mode >>> 12) & 0xf] ?? "unknown";
  return {
    type,
    size:
      bytes.readUInt32LE(start + at.size) + bytes.readUInt32LE(start + at.size + 4) * 0x1_0000_0000,
    mode: mode & 0o7777,
    uid: bytes.readUInt32LE(start + at.uid),
    gid: bytes.readUInt32LE(start + at.gid),
    links: bytes.readUInt32LE(start + at.links),
    mtimeMs: Number(bytes.readBigInt64LE(start + at.mtime_ns)) / 1e6,
    target: type === "symlink" ? decodeName(target) : undefined,
  };
}

function* decodeRecords(
  bytes: Buffer,
): Generator<{ name: Uint8Array; start: number; target: Uint8Array }> {
  for (let start = 0; start < bytes.length; ) {
    const name = start + fileRecord.size;
    if (name > bytes.length) throw malformed("a record is cut short");
    const target = name + bytes.readUInt16LE(start + at.name_length);
    const end = target + bytes.readUInt16LE(start + at.target_length);
    if (end > bytes.length) throw malformed("a record is cut short");
    yield { name: bytes.subarray(name, target), start, target: bytes.subarray(target, end) };
    start = end;
  }
}

/**
 * The one record without a name that `stat` prints.
 *
 * @throws {@link AgentError} ERR_AGENT_PROTOCOL for anything else.
 */
export function decodeFileStat(bytes: Buffer): FileStat {
  const [record, ...more] = [...decodeRecords(bytes)];
  if (record === undefined || more.length > 0) throw malformed("not one record");
  return decodeStat(bytes, record.start, record.target);
}

/**
 * The records that `list` prints.
 *
 * @throws {@link AgentError} ERR_AGENT_PROTOCOL for anything else, also for names that cannot be.
 */
export function decodeFileEntries(bytes: Buffer): FileEntry[] {
  return Array.from(decodeRecords(bytes), ({ name, start, target }) => ({
    name: checkedName(decodeName(name)),
    ...decodeStat(bytes, start, target),
  }));
}
