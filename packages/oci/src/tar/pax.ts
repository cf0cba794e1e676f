import { decodeName } from "@supermachine/erofs";
import { OciError } from "../errors.js";

/** The records of a pax extended header; values are bytes, since extended attributes may be binary. */
export type PaxRecords = Map<string, Uint8Array>;

function malformed(why: string): OciError {
  return new OciError("ERR_OCI_BAD_LAYER", `a pax header is malformed: ${why}`);
}

/**
 * Parses `"%d %s=%s\n"` records (POSIX pax, "pax Extended Header"), the length counting the whole
 * record. Later records of a key win.
 */
export function parsePax(bytes: Uint8Array): PaxRecords {
  const records: PaxRecords = new Map();
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const digits = space === -1 ? "" : Buffer.from(bytes.subarray(at, space)).toString("latin1");
    if (!/^[0-9]{1,10}$/.test(digits)) throw malformed("a record has no length");
    const end = at + Number(digits);
    if (end > bytes.length || end <= space + 1 || bytes[end - 1] !== 0x0a) {
      throw malformed("a record runs over its end");
    }
    const equals = bytes.indexOf(0x3d, space);
    if (equals <= space + 1 || equals >= end) throw malformed("a record has no key");
    const key = decodeName(bytes.subarray(space + 1, equals));
    // A copy: `slice` of a Buffer would keep the whole chunk in memory.
    records.set(key, new Uint8Array(bytes.subarray(equals + 1, end - 1)));
    at = end;
  }
  return records;
}

/** A pax time such as `1700000000.123456789`, rounded down to nanoseconds. */
export function parsePaxTime(text: string): { seconds: number; nanoseconds: number } {
  const match = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(text);
  if (match === null) throw malformed(`${JSON.stringify(text.slice(0, 40))} is not a time`);
  const fraction = Number((match[3] ?? "").slice(0, 9).padEnd(9, "0"));
  const whole = Number(match[2]);
  if (match[1] === "") return { seconds: whole, nanoseconds: fraction };
  return fraction === 0
    ? { seconds: 0 - whole, nanoseconds: 0 }
    : { seconds: -whole - 1, nanoseconds: 1_000_000_000 - fraction };
}

/** A pax decimal number of at most 2^53. */
export function parsePaxNumber(key: string, text: string): number {
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) {
    throw malformed(`${key} is ${JSON.stringify(text.slice(0, 40))}, not a number in range`);
  }
  return value;
}
