import { decodeName } from "@supermachine/erofs";
import { OciError } from "../errors.js";

export const TAR_BLOCK = 512;

/** The fields of one ustar, GNU or v7 header block, before extended headers are applied. */
export interface RawHeader {
  readonly name: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly typeflag: string;
  readonly linkname: string;
  readonly devmajor: number;
  readonly devminor: number;
}

/** Offset and length of each field (POSIX pax, "ustar Interchange Format"). */
const fields = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  chksum: [148, 8],
  typeflag: [156, 1],
  linkname: [157, 100],
  magic: [257, 8],
  devmajor: [329, 8],
  devminor: [337, 8],
  prefix: [345, 155],
} as const;

type Field = keyof typeof fields;

function fieldBytes(block: Uint8Array, field: Field): Uint8Array {
  const [offset, length] = fields[field];
  return block.subarray(offset, offset + length);
}

function text(block: Uint8Array, field: Field): string {
  const bytes = fieldBytes(block, field);
  const end = bytes.indexOf(0);
  return decodeName(end === -1 ? bytes : bytes.subarray(0, end));
}

function malformed(field: Field): OciError {
  return new OciError("ERR_OCI_BAD_LAYER", `the ${field} of a tar header is not a number in range`);
}

/** GNU base-256: big-endian two's complement, the top bit of the first byte set as a mark. */
function base256(bytes: Uint8Array, field: Field): number {
  const first = bytes[0] ?? 0;
  const negative = (first & 0x40) !== 0;
  let value = negative ? (first & 0x7f) - 0x80 : first & 0x7f;
  for (const byte of bytes.subarray(1)) {
    value = value * 256 + byte;
    if (!Number.isSafeInteger(value)) throw malformed(field);
  }
  return value;
}

function number(block: Uint8Array, field: Field): number {
  const bytes = fieldBytes(block, field);
  if ((bytes[0] ?? 0) & 0x80) return base256(bytes, field);
  const digits = Buffer.from(bytes)
    .toString("latin1")
    .replace(/^[\0 ]+/, "")
    .replace(/[\0 ].*$/s, "");
  if (!/^[0-7]*$/.test(digits)) throw malformed(field);
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

/** The checksum takes its own field as spaces; old tars summed signed bytes, so both are right. */
function checksumMatches(block: Uint8Array): boolean {
  let unsigned = 0;
  let signed = 0;
  for (let at = 0; at < TAR_BLOCK; at++) {
    const byte = at >= 148 && at < 156 ? 0x20 : (block[at] ?? 0);
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const expected = number(block, "chksum");
  return expected === unsigned || expected === signed;
}

/**
 * Decodes a header block; undefined for a block of zeros, which ends an archive. Throws
 * {@link OciError} `ERR_OCI_BAD_LAYER` when it is not a tar header.
 */
export function decodeHeader(block: Uint8Array): RawHeader | undefined {
  if (block.every((byte) => byte === 0)) return undefined;
  if (!checksumMatches(block)) {
    throw new OciError(
      "ERR_OCI_BAD_LAYER",
      "a tar header has a wrong checksum; the archive is damaged",
    );
  }
  // GNU's magic is "ustar  \0": its bytes at `prefix` mean other things.
  const isUstar = text(block, "magic") === "ustar";
  const prefix = isUstar ? text(block, "prefix") : "";
  const name = text(block, "name");
  const typeflag = String.fromCharCode(block[fields.typeflag[0]] || 0x30);
  const hasDevice = typeflag === "3" || typeflag === "4";
  return {
    name: prefix === "" ? name : `${prefix}/${name}`,
    mode: number(block, "mode"),
    uid: number(block, "uid"),
    gid: number(block, "gid"),
    size: number(block, "size"),
    mtime: number(block, "mtime"),
    typeflag,
    linkname: text(block, "linkname"),
    devmajor: hasDevice ? number(block, "devmajor") : 0,
    devminor: hasDevice ? number(block, "devminor") : 0,
  };
}
