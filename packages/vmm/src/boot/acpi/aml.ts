/*
 * A writer of AML, the byte code in which ACPI describes devices (ACPI Specification 6.4, chapter 20),
 * as far as a virtual machine without power management needs it.
 */

/** A value: what a name stands for, or an element of a package. */
export interface DataObject {
  readonly kind: "data";
  readonly bytes: Uint8Array;
}

/** What a scope, a device or a method consists of. */
export interface Term {
  readonly kind: "term";
  readonly bytes: Uint8Array;
}

const NAME_OP = 0x08;
const BYTE_PREFIX = 0x0a;
const WORD_PREFIX = 0x0b;
const DWORD_PREFIX = 0x0c;
const QWORD_PREFIX = 0x0e;
const STRING_PREFIX = 0x0d;
const SCOPE_OP = 0x10;
const BUFFER_OP = 0x11;
const PACKAGE_OP = 0x12;
const METHOD_OP = 0x14;
const EXTENDED_PREFIX = 0x5b;
const DEVICE_OP = 0x82;
const NOTIFY_OP = 0x86;

const data = (...parts: readonly (number | Uint8Array)[]): DataObject => ({
  kind: "data",
  bytes: concatenate(parts),
});
const term = (...parts: readonly (number | Uint8Array)[]): Term => ({
  kind: "term",
  bytes: concatenate(parts),
});

function concatenate(parts: readonly (number | Uint8Array)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === "number" ? Buffer.of(part) : part)));
}

/** NameSeg: up to four capitals, digits and underscores. */
function nameSegment(name: string): Uint8Array {
  if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(name)) throw new RangeError(`${name} is no name of ACPI`);
  return Buffer.from(name.padEnd(4, "_"), "latin1");
}

/** PkgLength (section 20.2.4), which counts its own bytes, before what it is the length of. */
function packaged(content: Uint8Array): Buffer {
  if (content.length + 1 < 0x40) return concatenate([content.length + 1, content]);
  const following = content.length + 2 < 0x1000 ? 1 : content.length + 3 < 0x10_0000 ? 2 : 3;
  const length = content.length + 1 + following;
  const bytes = Buffer.alloc(1 + following);
  bytes[0] = (following << 6) | (length & 0x0f);
  bytes.writeUIntLE(Math.floor(length / 0x10), 1, following);
  return concatenate([bytes, content]);
}

const bytesOf = (parts: readonly (DataObject | Term)[]) =>
  concatenate(parts.map(({ bytes }) => bytes));

/** A whole number from 0 to 2^53 - 1, in as few bytes as hold it. */
export function integer(value: number): DataObject {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no integer`);
  if (value < 2) return data(value); // ZeroOp, OneOp
  const [prefix, size] =
    value < 0x100
      ? [BYTE_PREFIX, 1]
      : value < 0x1_0000
        ? [WORD_PREFIX, 2]
        : value < 0x1_0000_0000
          ? [DWORD_PREFIX, 4]
          : [QWORD_PREFIX, 8];
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return data(prefix, bytes.subarray(0, size));
}

/** An ASCII string without NUL. */
export function string(text: string): DataObject {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: AsciiChar is 0x01 to 0x7f
  if (!/^[\x01-\x7f]*$/.test(text)) throw new RangeError(`${text} is not ASCII`);
  return data(STRING_PREFIX, Buffer.from(`${text}\0`, "latin1"));
}

/** Up to 255 values. */
export function aPackage(...elements: readonly DataObject[]): DataObject {
  return data(PACKAGE_OP, packaged(concatenate([elements.length, bytesOf(elements)])));
}

function buffer(content: Uint8Array): DataObject {
  return data(BUFFER_OP, packaged(concatenate([integer(content.length).bytes, content])));
}

export function name(segment: string, value: DataObject): Term {
  return term(NAME_OP, nameSegment(segment), value.bytes);
}

export function scope(segment: string, ...content: readonly Term[]): Term {
  return term(SCOPE_OP, packaged(concatenate([nameSegment(segment), bytesOf(content)])));
}

export function device(segment: string, ...content: readonly Term[]): Term {
  const body = packaged(concatenate([nameSegment(segment), bytesOf(content)]));
  return term(EXTENDED_PREFIX, DEVICE_OP, body);
}

/** A method that takes `argumentCount` arguments, 0 to 7. */
export function method(segment: string, argumentCount: number, ...content: readonly Term[]): Term {
  return term(
    METHOD_OP,
    packaged(concatenate([nameSegment(segment), argumentCount, bytesOf(content)])),
  );
}

/** Tells the driver of a device that something happened to it; 0x80 and above are the device's own. */
export function notify(segment: string, value: number): Term {
  return term(NOTIFY_OP, nameSegment(segment), integer(value).bytes);
}

/** One resource of a device (section 6.4). */
export interface Resource {
  readonly kind: "resource";
  readonly bytes: Uint8Array;
}

const MEMORY32_FIXED = 0x86;
const EXTENDED_INTERRUPT = 0x89;
const IO_PORTS = 0x47;
const END_TAG = 0x79;
const READ_WRITE = 1;
const DECODES_16_BITS = 1;
const CONSUMER = 1 << 0;
const EDGE_TRIGGERED = 1 << 1;

function resource(size: number, fill: (view: DataView) => void): Resource {
  const bytes = new Uint8Array(size);
  fill(new DataView(bytes.buffer));
  return { kind: "resource", bytes };
}

/** Registers below 4 GiB. */
export function memory32(address: number, length: number): Resource {
  return resource(12, (view) => {
    view.setUint8(0, MEMORY32_FIXED);
    view.setUint16(1, 9, true);
    view.setUint8(3, READ_WRITE);
    view.setUint32(4, address, true);
    view.setUint32(8, length, true);
  });
}

/** A global system interrupt of the device's own: edge-triggered, active high. */
export function interrupt(gsi: number): Resource {
  return resource(9, (view) => {
    view.setUint8(0, EXTENDED_INTERRUPT);
    view.setUint16(1, 6, true);
    view.setUint8(3, CONSUMER | EDGE_TRIGGERED);
    view.setUint8(4, 1);
    view.setUint32(5, gsi, true);
  });
}

export function ports(first: number, count: number): Resource {
  return resource(8, (view) => {
    view.setUint8(0, IO_PORTS);
    view.setUint8(1, DECODES_16_BITS);
    view.setUint16(2, first, true);
    view.setUint16(4, first, true);
    view.setUint8(6, 1); // alignment
    view.setUint8(7, count);
  });
}

/** The value of a `_CRS`. */
export function resources(...list: readonly Resource[]): DataObject {
  const noChecksum = 0;
  return buffer(concatenate([...list.map(({ bytes }) => bytes), END_TAG, noChecksum]));
}
