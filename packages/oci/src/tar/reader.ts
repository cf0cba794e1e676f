import { decodeName } from "@supermachine/erofs";
import { OciError } from "../errors.js";
import { ByteCursor, truncated } from "./cursor.js";
import { decodeHeader, type RawHeader, TAR_BLOCK } from "./header.js";
import { type PaxRecords, parsePax, parsePaxNumber, parsePaxTime } from "./pax.js";

/** The kinds of tar entry that describe a file. */
export type TarEntryType =
  | "file"
  | "link"
  | "symlink"
  | "character-device"
  | "block-device"
  | "directory"
  | "fifo";

/** What a tar archive says of one file, extended headers applied. */
export interface TarHeader {
  readonly type: TarEntryType;
  /** As written; not normalized. */
  readonly name: string;
  /** Target of a link or symlink, else empty. */
  readonly linkname: string;
  /** Permission, set-id and sticky bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content; 0 unless it is a file. */
  readonly size: number;
  readonly mtime: number;
  readonly mtimeNsec: number;
  readonly devmajor: number;
  readonly devminor: number;
  /** Extended attributes of the `SCHILY.xattr.` and `LIBARCHIVE.xattr.` records. */
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}

/** One entry; its content must be read before the next entry is asked for, or it is passed over. */
export interface TarEntry {
  readonly header: TarHeader;
  /** Where the content begins, in bytes from the start of the archive. */
  readonly position: number;
  /** Reads the content once. */
  content(): AsyncGenerator<Uint8Array>;
}

const typeOfFlag: Readonly<Record<string, TarEntryType>> = {
  "0": "file",
  "1": "link",
  "2": "symlink",
  "3": "character-device",
  "4": "block-device",
  "5": "directory",
  "6": "fifo",
  "7": "file",
};
/** No extended header is larger than this in practice; Go's archive/tar has the same limit. */
const MAX_EXTENDED_HEADER = 1024 * 1024;
const noRecords: PaxRecords = new Map();
const noXattrs: ReadonlyMap<string, Uint8Array> = new Map();

/** Extended headers that apply to the next entry. */
interface Pending {
  pax: PaxRecords | undefined;
  longName: string | undefined;
  longLink: string | undefined;
}

function xattrsOf(records: PaxRecords): ReadonlyMap<string, Uint8Array> {
  let xattrs: Map<string, Uint8Array> | undefined;
  for (const [key, value] of records) {
    const match = /^(SCHILY|LIBARCHIVE)\.xattr\.(.+)$/s.exec(key);
    if (match?.[2] === undefined) continue;
    xattrs ??= new Map();
    if (match[1] === "SCHILY") xattrs.set(match[2], value);
    else
      xattrs.set(
        percentDecoded(match[2]),
        Buffer.from(Buffer.from(value).toString("latin1"), "base64"),
      );
  }
  return xattrs ?? noXattrs;
}

function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function applyExtended(
  raw: RawHeader,
  global: PaxRecords,
  { pax, longName, longLink }: Pending,
): TarHeader {
  const records =
    pax === undefined ? global : global.size === 0 ? pax : new Map([...global, ...pax]);
  const textOf = (key: string) => {
    const value = records.get(key);
    // An empty value takes a global record back (POSIX pax).
    return value === undefined || value.length === 0 ? undefined : decodeName(value);
  };
  const numberOf = (key: string, fallback: number) => {
    const value = textOf(key);
    return value === undefined ? fallback : parsePaxNumber(key, value);
  };
  const name = textOf("path") ?? longName ?? raw.name;
  const isSparse =
    raw.typeflag === "S" || [...records.keys()].some((key) => key.startsWith("GNU.sparse."));
  let type = typeOfFlag[raw.typeflag];
  if (type === undefined || isSparse) {
    throw new OciError(
      "ERR_OCI_UNSUPPORTED_MEDIA",
      `the tar entry ${JSON.stringify(name)} is ${isSparse ? "a GNU sparse file" : `of type ${JSON.stringify(raw.typeflag)}`}, ` +
        "which is not supported; make the layer without it",
    );
  }
  // Archives older than POSIX mark a directory by its name only.
  if (type === "file" && name.endsWith("/")) type = "directory";
  const time = textOf("mtime");
  const { seconds, nanoseconds } =
    time === undefined ? { seconds: raw.mtime, nanoseconds: 0 } : parsePaxTime(time);
  return {
    type,
    name,
    linkname:
      type === "link" || type === "symlink" ? (textOf("linkpath") ?? longLink ?? raw.linkname) : "",
    mode: raw.mode & 0o7777,
    uid: numberOf("uid", raw.uid),
    gid: numberOf("gid", raw.gid),
    size: type === "file" ? numberOf("size", raw.size) : 0,
    mtime: seconds,
    mtimeNsec: nanoseconds,
    devmajor: raw.devmajor,
    devminor: raw.devminor,
    xattrs: xattrsOf(records),
  };
}

function cString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decodeName(end === -1 ? bytes : bytes.subarray(0, end));
}

/**
 * Reads a tar archive: v7, ustar, pax and GNU long names; to the very end of the stream, past the
 * end marker. The tar libraries at hand decode pax values as UTF-8, which destroys binary extended
 * attributes such as `security.capability`; hence a reader of our own. Throws {@link OciError}
 * `ERR_OCI_TRUNCATED`, `ERR_OCI_BAD_LAYER` or `ERR_OCI_UNSUPPORTED_MEDIA`.
 */
export async function* readTar(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const cursor = new ByteCursor(chunks);
  let global: PaxRecords = noRecords;
  let pending: Pending = { pax: undefined, longName: undefined, longLink: undefined };
  let position = 0;
  try {
    for (;;) {
      const block = await cursor.exactly(TAR_BLOCK, "a header");
      const raw = block && decodeHeader(block);
      if (raw === undefined) break;
      position += TAR_BLOCK;
      if ("xgLK".includes(raw.typeflag)) {
        const { size } = raw;
        if (size < 0 || size > MAX_EXTENDED_HEADER) {
          throw new OciError(
            "ERR_OCI_BAD_LAYER",
            `an extended tar header has ${size} bytes, too many`,
          );
        }
        const padded = Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;
        const bytes =
          padded === 0 ? new Uint8Array(0) : await cursor.exactly(padded, "an extended header");
        if (bytes === undefined) throw truncated("an extended header");
        position += padded;
        const body = bytes.subarray(0, size);
        if (raw.typeflag === "x") pending.pax = parsePax(body);
        else if (raw.typeflag === "g") global = new Map([...global, ...parsePax(body)]);
        else if (raw.typeflag === "L") pending.longName = cString(body);
        else pending.longLink = cString(body);
        continue;
      }
      const header = applyExtended(raw, global, pending);
      pending = { pax: undefined, longName: undefined, longLink: undefined };
      if (header.size < 0)
        throw new OciError("ERR_OCI_BAD_LAYER", "a tar header has a negative size");
      const what = `the content of ${JSON.stringify(header.name)}`;
      let left = header.size;
      yield {
        header,
        position,
        async *content() {
          while (left > 0) {
            const part = await cursor.some(left);
            if (part.length === 0) throw truncated(what);
            left -= part.length;
            yield part;
          }
        },
      };
      const padded = Math.ceil(header.size / TAR_BLOCK) * TAR_BLOCK;
      await cursor.skip(left + padded - header.size, what);
      position += padded;
    }
    await cursor.drain();
  } finally {
    await cursor.close();
  }
}
