/// <reference path="./buffer-layout.d.ts" />
import * as BufferLayout from "buffer-layout";

class Integer64 extends BufferLayout.Layout<bigint> {
  readonly #signed: boolean;

  constructor(signed: boolean, property: string) {
    super(8, property);
    this.#signed = signed;
  }

  override decode(bytes: Buffer, offset = 0): bigint {
    return this.#signed ? bytes.readBigInt64LE(offset) : bytes.readBigUInt64LE(offset);
  }

  override encode(value: bigint, bytes: Buffer, offset = 0): number {
    if (this.#signed) bytes.writeBigInt64LE(value, offset);
    else bytes.writeBigUInt64LE(value, offset);
    return 8;
  }
}

/** Takes any Uint8Array, where buffer-layout's own blob insists on a Buffer. */
class ByteArray extends BufferLayout.Layout<Uint8Array> {
  override decode(bytes: Buffer, offset = 0): Uint8Array {
    return Uint8Array.prototype.slice.call(bytes, offset, offset + this.span);
  }

  override encode(value: Uint8Array, bytes: Buffer, offset = 0): number {
    if (value.length !== this.span) {
      throw new RangeError(`${value.length} bytes given for a field of ${this.span}`);
    }
    bytes.set(value, offset);
    return this.span;
  }
}

/** Spelt out, so that declarations of our users' packages do not need the types of buffer-layout. */
type ScalarType = "u8" | "u16" | "u32" | "u64" | "s8" | "s16" | "s32" | "s64";

const scalars: Record<ScalarType, (property: string) => BufferLayout.Layout<number | bigint>> = {
  u8: (property: string) => BufferLayout.u8(property),
  u16: (property: string) => BufferLayout.u16(property),
  u32: (property: string) => BufferLayout.u32(property),
  s8: (property: string) => BufferLayout.s8(property),
  s16: (property: string) => BufferLayout.s16(property),
  s32: (property: string) => BufferLayout.s32(property),
  u64: (property: string) => new Integer64(false, property),
  s64: (property: string) => new Integer64(true, property),
};

/** A little-endian integer, or a byte array of `bytes` length. */
export type FieldType = ScalarType | { readonly bytes: number };

type ValueOf<T extends FieldType> = T extends "u64" | "s64"
  ? bigint
  : T extends { readonly bytes: number }
    ? Uint8Array
    : number;

/** The decoded form of a struct: 64-bit fields are `bigint`, byte arrays `Uint8Array`, others `number`. */
export type FieldsOf<F extends Record<string, FieldType>> = {
  -readonly [K in keyof F]: ValueOf<F[K]>;
};

/** A C struct, declared once: its size, the offset of each field, and a decoder and encoder. */
export interface Struct<F extends Record<string, FieldType> = Record<string, FieldType>> {
  /** The name in the C header, without `struct`. */
  readonly name: string;
  /** `sizeof` in bytes. */
  readonly size: number;
  /** `offsetof` each field in bytes; hot paths read these with a `DataView`. */
  readonly offsets: { readonly [K in keyof F]: number };
  /** Reads every field at `offset`. Throws `RangeError` when fewer than `size` bytes are left. */
  decode(bytes: Uint8Array, offset?: number): FieldsOf<F>;
  /** Writes every field at `offset` and returns `size`. */
  encode(value: FieldsOf<F>, bytes: Uint8Array, offset?: number): number;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function layoutOf(property: string, type: FieldType): BufferLayout.Layout {
  if (typeof type === "object") {
    return new ByteArray(type.bytes, property) as BufferLayout.Layout;
  }
  return scalars[type](property) as BufferLayout.Layout;
}

/**
 * Declares a packed little-endian C struct. Padding is a named field, so that every byte is accounted
 * for; throws `RangeError` at load time when the fields do not add up to the header's `size`.
 */
export function defineStruct<const F extends Record<string, FieldType>>(
  name: string,
  size: number,
  fields: F,
): Struct<F> {
  const layout = BufferLayout.struct<FieldsOf<F>>(
    Object.entries(fields).map(([property, type]) => layoutOf(property, type)),
  );
  if (layout.span !== size) {
    throw new RangeError(`struct ${name}: fields add up to ${layout.span} bytes, not ${size}`);
  }
  const offsets = Object.freeze(
    Object.fromEntries(Object.keys(fields).map((p) => [p, layout.offsetOf(p)])),
  ) as Struct<F>["offsets"];
  return {
    name,
    size,
    offsets,
    decode: (bytes, offset = 0) => layout.decode(asBuffer(bytes), offset),
    encode: (value, bytes, offset = 0) => {
      const buffer = asBuffer(bytes);
      if (offset < 0 || offset + size > buffer.length) {
        throw new RangeError(`struct ${name}: no room for ${size} bytes at ${offset}`);
      }
      layout.encode(value, buffer, offset);
      return size;
    },
  };
}
