import { decodeName, encodeName } from "@supermachine-internal/file-name";
import { ErofsError } from "./errors.js";
import { xattrEntry, xattrIbodyHeader } from "./on-disk.js";

const none = new Uint8Array(0);
const MAX_VALUE = 0xffff;
/** `i_xattr_icount` has 16 bits and counts the header as one and each four bytes after it as one. */
const MAX_BODY = xattrIbodyHeader.size + 4 * (0xffff - 1);

/** `EROFS_XATTR_INDEX_*`: the prefix of a name is stored as this number. */
const prefixes: ReadonlyMap<number, string> = new Map([
  [1, "user."],
  [2, "system.posix_acl_access"],
  [3, "system.posix_acl_default"],
  [4, "trusted."],
  [6, "security."],
]);

interface SplitName {
  readonly index: number;
  readonly suffix: Uint8Array;
}

function splitName(name: string): SplitName | undefined {
  for (const [index, prefix] of prefixes) {
    const exact = !prefix.endsWith(".");
    if (exact ? name !== prefix : !name.startsWith(prefix)) continue;
    const suffix = encodeName(name.slice(prefix.length));
    if (suffix.length > 255 || suffix.includes(0) || (!exact && suffix.length === 0)) return;
    return { index, suffix };
  }
  return undefined;
}

/** True when EROFS has a place for an extended attribute of this full name. */
export function isStorableXattr(name: string): boolean {
  return splitName(name) !== undefined;
}

const entrySize = (nameLength: number, valueSize: number) =>
  (xattrEntry.size + nameLength + valueSize + 3) & ~3;

/**
 * Encodes the inline xattr body that follows an inode; empty when there are none. Attributes are
 * sorted by name so that the order in which they were set leaves no trace. `where` names the file in errors.
 */
export function encodeXattrs(
  xattrs: ReadonlyMap<string, Uint8Array> | undefined,
  where: string,
): Uint8Array {
  if (xattrs === undefined || xattrs.size === 0) return none;
  const entries = [...xattrs].map(([name, value]) => {
    const split = splitName(name);
    if (split === undefined || value.length > MAX_VALUE) {
      throw new ErofsError(
        "ERR_EROFS_INVALID_TREE",
        `${where}: the extended attribute ${JSON.stringify(name)} of ${value.length} bytes cannot be stored; ` +
          `names start with user., trusted. or security. or are a POSIX ACL, and values end at ${MAX_VALUE} bytes`,
      );
    }
    return { ...split, value };
  });
  entries.sort((a, b) => a.index - b.index || Buffer.compare(a.suffix, b.suffix));
  let size = xattrIbodyHeader.size;
  for (const { suffix, value } of entries) size += entrySize(suffix.length, value.length);
  if (size > MAX_BODY) {
    throw new ErofsError(
      "ERR_EROFS_INVALID_TREE",
      `${where}: its extended attributes take ${size} bytes, more than the ${MAX_BODY} an inode can hold`,
    );
  }
  const body = new Uint8Array(size);
  let at = xattrIbodyHeader.size;
  for (const { index, suffix, value } of entries) {
    xattrEntry.encode(
      { e_name_len: suffix.length, e_name_index: index, e_value_size: value.length },
      body,
      at,
    );
    body.set(suffix, at + xattrEntry.size);
    body.set(value, at + xattrEntry.size + suffix.length);
    at += entrySize(suffix.length, value.length);
  }
  return body;
}

/** The `i_xattr_icount` of an encoded body. */
export function xattrCount(body: Uint8Array): number {
  return body.length === 0 ? 0 : (body.length - xattrIbodyHeader.size) / 4 + 1;
}

/** The size in bytes of a body, from `i_xattr_icount`. */
export function xattrBodySize(count: number): number {
  return count === 0 ? 0 : xattrIbodyHeader.size + 4 * (count - 1);
}

/** One entry of an inline body or of the shared area, and the bytes it takes there. */
export interface DecodedXattr {
  readonly name: string;
  readonly value: Uint8Array;
  readonly size: number;
}

/** Reads the entry at `at`; attributes of a prefix unknown here are named `index-<n>.<suffix>`. */
export function decodeXattr(bytes: Uint8Array, at: number, nid: number): DecodedXattr {
  const room = bytes.length - at;
  if (room >= xattrEntry.size) {
    const entry = xattrEntry.decode(bytes, at);
    const nameAt = at + xattrEntry.size;
    const valueAt = nameAt + entry.e_name_len;
    if (valueAt + entry.e_value_size <= bytes.length) {
      const prefix = prefixes.get(entry.e_name_index) ?? `index-${entry.e_name_index}.`;
      return {
        name: prefix + decodeName(bytes.subarray(nameAt, valueAt)),
        value: new Uint8Array(bytes.subarray(valueAt, valueAt + entry.e_value_size)),
        size: entrySize(entry.e_name_len, entry.e_value_size),
      };
    }
  }
  throw new ErofsError(
    "ERR_EROFS_CORRUPT",
    `inode ${nid}: an extended attribute runs over the end of its area at byte ${at}`,
  );
}
