import { defineStruct } from "@supermachine-internal/struct";

/** Bytes of a machine's memory, counted through its RAM ranges one after the other. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
  /** CRC-32 of the bytes, as of zlib. */
  readonly crc32: number;
}

export const extentRecord = defineStruct("snapshot_extent", 16, {
  offset: "u64",
  length: "u32",
  crc32: "u32",
});

const PAGE = 4096;
/** Each extent is a mapping of the restored machine, and Linux gives a process 65,530 of them. */
export const MAX_EXTENTS = 4096;

export function encodeExtents(extents: readonly Extent[]): Uint8Array {
  const bytes = Buffer.alloc(extents.length * extentRecord.size);
  for (const [n, { offset, length, crc32 }] of extents.entries()) {
    extentRecord.encode({ offset: BigInt(offset), length, crc32 }, bytes, n * extentRecord.size);
  }
  return bytes;
}

/** `undefined` for anything but extents of whole pages, in order, of a memory of `size` bytes. */
export function decodeExtents(bytes: Uint8Array, size: number): Extent[] | undefined {
  const count = bytes.length / extentRecord.size;
  if (!Number.isInteger(count) || count > MAX_EXTENTS) return undefined;
  const extents: Extent[] = [];
  let end = 0;
  for (let n = 0; n < count; n++) {
    const { offset: wide, length, crc32 } = extentRecord.decode(bytes, n * extentRecord.size);
    const offset = Number(wide);
    const isWhole = offset % PAGE === 0 && length % PAGE === 0 && length > 0;
    if (!isWhole || offset < end || offset + length > size) return undefined;
    end = offset + length;
    extents.push({ offset, length, crc32 });
  }
  return extents;
}
