/**
 * File names as strings, without loss. Names on Linux are bytes; almost all of them are UTF-8. A byte
 * that is not part of valid UTF-8 becomes the lone surrogate U+DC80..U+DCFF (PEP 383), which valid
 * UTF-8 never produces, so `encodeName(decodeName(bytes))` gives the same bytes back.
 */

interface Latin1Buffer {
  latin1Slice(start: number, end: number): string;
}

/** Decodes the name in `bytes[start, end)`. Never fails. */
export function decodeName(bytes: Uint8Array, start = 0, end: number = bytes.length): string {
  for (let i = start; i < end; i++) {
    if ((bytes[i] as number) >= 0x80) return decodeUtf8(bytes, start, end);
  }
  return decodeAscii(bytes, start, end);
}

function decodeAscii(bytes: Uint8Array, start: number, end: number): string {
  if ("latin1Slice" in bytes) return (bytes as unknown as Latin1Buffer).latin1Slice(start, end);
  let name = "";
  for (let i = start; i < end; i++) name += String.fromCharCode(bytes[i] as number);
  return name;
}

/** The length of the UTF-8 sequence at `at`, or 0 where there is none (Unicode 15, table 3-7). */
function sequenceLength(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at] as number;
  if (lead < 0x80) return 1;
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || at + length > end) return 0;
  for (let i = at + 1; i < at + length; i++) {
    if (((bytes[i] as number) & 0xc0) !== 0x80) return 0;
  }
  const second = bytes[at + 1] as number;
  // Overlong forms, UTF-16 surrogates and code points above U+10FFFF are not UTF-8.
  if (lead === 0xe0 && second < 0xa0) return 0;
  if (lead === 0xed && second > 0x9f) return 0;
  if (lead === 0xf0 && second < 0x90) return 0;
  if (lead === 0xf4 && second > 0x8f) return 0;
  return length;
}

function decodeUtf8(bytes: Uint8Array, start: number, end: number): string {
  let name = "";
  for (let at = start; at < end; ) {
    const length = sequenceLength(bytes, at, end);
    const lead = bytes[at] as number;
    if (length === 0) {
      name += String.fromCharCode(0xdc00 + lead);
      at++;
      continue;
    }
    let point = length === 1 ? lead : lead & (0x7f >> length);
    for (let i = 1; i < length; i++) point = (point << 6) | ((bytes[at + i] as number) & 0x3f);
    name += String.fromCodePoint(point);
    at += length;
  }
  return name;
}

/** The length in bytes that {@link writeName} writes. */
export function nameLength(name: string): number {
  let bytes = 0;
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i);
    if (unit < 0x80 || isEscapedByte(name, i)) bytes += 1;
    else if (unit < 0x800) bytes += 2;
    else if (isPair(name, i)) {
      bytes += 4;
      i++;
    } else bytes += 3;
  }
  return bytes;
}

/** A low surrogate U+DC80..U+DCFF on its own: its caller has skipped those that end a pair. */
function isEscapedByte(name: string, at: number): boolean {
  const unit = name.charCodeAt(at);
  return unit >= 0xdc80 && unit <= 0xdcff;
}

function isPair(name: string, at: number): boolean {
  const unit = name.charCodeAt(at);
  const next = name.charCodeAt(at + 1);
  return unit >= 0xd800 && unit <= 0xdbff && next >= 0xdc00 && next <= 0xdfff;
}

/**
 * Writes the bytes of `name` to `bytes` at `at`, without a terminating NUL, and returns how many.
 * Throws `RangeError` when they do not fit. Lone surrogates that are no escaped byte become U+FFFD.
 */
export function writeName(name: string, bytes: Uint8Array, at = 0): number {
  // Each UTF-16 unit takes at most 3 bytes: only names near the end of the buffer are measured.
  if (at + name.length * 3 > bytes.length && at + nameLength(name) > bytes.length) {
    throw new RangeError(`no room for a name of ${nameLength(name)} bytes at ${at}`);
  }
  let to = at;
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i);
    if (unit < 0x80) bytes[to++] = unit;
    else if (isEscapedByte(name, i)) bytes[to++] = unit & 0xff;
    else {
      to = writePoint(name.codePointAt(i) as number, bytes, to);
      if (isPair(name, i)) i++;
    }
  }
  return to - at;
}

function writePoint(point: number, bytes: Uint8Array, at: number): number {
  let to = at;
  if (point < 0x800) {
    bytes[to++] = 0xc0 | (point >> 6);
  } else if (point < 0x10000) {
    const written = point >= 0xd800 && point <= 0xdfff ? 0xfffd : point;
    bytes[to++] = 0xe0 | (written >> 12);
    bytes[to++] = 0x80 | ((written >> 6) & 0x3f);
    bytes[to++] = 0x80 | (written & 0x3f);
    return to;
  } else {
    bytes[to++] = 0xf0 | (point >> 18);
    bytes[to++] = 0x80 | ((point >> 12) & 0x3f);
    bytes[to++] = 0x80 | ((point >> 6) & 0x3f);
  }
  bytes[to++] = 0x80 | (point & 0x3f);
  return to;
}

/** The bytes of `name`, without a terminating NUL. */
export function encodeName(name: string): Uint8Array {
  const bytes = new Uint8Array(nameLength(name));
  writeName(name, bytes, 0);
  return bytes;
}
