import fc from "fast-check";
import { expect, test } from "vitest";
import { direntStruct } from "../syscalls/structs.js";
import {
  type DarwinDirent,
  DarwinListing,
  darwinDirentStruct,
  parseDarwinDirents,
} from "./darwin-listing.js";

const dirent: fc.Arbitrary<DarwinDirent> = fc.record({
  ino: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
  type: fc.nat({ max: 14 }),
  name: fc
    .uint8Array({ minLength: 1, maxLength: 255 })
    .map((bytes) => bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x61 : byte))),
});

/** As getdirentries64(2) gives it: the record's length is a multiple of 4, and beyond the name there is anything. */
function encodeDarwin({ ino, type, name }: DarwinDirent): Uint8Array {
  const length = (darwinDirentStruct.size + name.length + 1 + 3) & ~3;
  const bytes = new Uint8Array(length).fill(0xee);
  const fields = {
    d_ino: ino,
    d_seekoff: 7n,
    d_reclen: length,
    d_namlen: name.length,
    d_type: type,
  };
  darwinDirentStruct.encode(fields, bytes);
  bytes.set(name, darwinDirentStruct.size);
  return bytes;
}

test("listings of macOS are read back as they were written, without removed names", () => {
  const removed = { ino: 0n, type: 8, name: Buffer.from("gone") };
  fc.assert(
    fc.property(fc.array(dirent, { maxLength: 20 }), (entries) => {
      const bytes = Buffer.concat([...entries, removed, ...entries].map(encodeDarwin));
      expect(parseDarwinDirents(bytes)).toEqual([...entries, ...entries]);
    }),
  );
});

test("any bytes of a listing are parsed without harm", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const entries = parseDarwinDirents(bytes) ?? [];
      for (const { name } of entries) expect(name.length).toBeLessThanOrEqual(bytes.length);
    }),
  );
});

/** Reads `struct linux_dirent64` records as a client of getdents64(2) does. */
function readLinux(bytes: Uint8Array): (DarwinDirent & { readonly next: bigint })[] {
  const read = [];
  for (let start = 0; start < bytes.length; ) {
    const { d_ino, d_off, d_reclen, d_type } = direntStruct.decode(bytes, start);
    const nameAt = start + direntStruct.size;
    const name = bytes.slice(nameAt, bytes.indexOf(0, nameAt));
    read.push({ ino: d_ino, type: d_type, name, next: d_off });
    start += d_reclen;
  }
  return read;
}

test("a listing is continued in records of Linux, from wherever one was left", () => {
  fc.assert(
    fc.property(
      fc.array(dirent, { maxLength: 20 }),
      fc.integer({ min: 288, max: 2000 }),
      (entries, room) => {
        const listing = new DarwinListing();
        listing.append(Buffer.concat(entries.map(encodeDarwin)));
        const out = new Uint8Array(room);
        const listed: DarwinDirent[] = [];
        let position = 0;
        while (listed.length < entries.length) {
          listing.read(out);
          listing.seek(position);
          const records = readLinux(out.subarray(0, listing.read(out)));
          expect(records.length).toBeGreaterThan(0);
          for (const { next, ...entry } of records) {
            listed.push(entry);
            position = Number(next);
          }
        }
        expect(listed).toEqual(entries);
        expect(listing.read(out)).toBe(0);
        listing.seek(2 ** 40);
        expect(listing.read(out)).toBe(0);
      },
    ),
  );
});
