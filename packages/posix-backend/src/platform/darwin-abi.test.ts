import {
  O_APPEND,
  O_CREAT,
  O_EXCL,
  O_NOCTTY,
  O_RDWR,
  O_SYNC,
  O_TRUNC,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  SEEK_DATA,
  SEEK_HOLE,
  SEEK_SET,
  XATTR_CREATE,
  XATTR_REPLACE,
} from "@supermachine/fuse-protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { direntStruct, statfsStruct, statxStruct } from "../syscalls/structs.js";
import {
  type DarwinDirent,
  darwinDirentStruct,
  darwinOpenFlags,
  darwinRenameFlags,
  darwinStatfsStruct,
  darwinStatStruct,
  darwinWhence,
  darwinXattrOptions,
  parseDarwinDirents,
  statfsFromDarwin,
  statxFromDarwin,
  writeLinuxDirents,
} from "./darwin-abi.js";

test("flags of system calls become those of macOS", () => {
  expect(darwinOpenFlags(O_RDWR | O_CREAT | O_EXCL)).toBe(0x2 | 0x200 | 0x800);
  expect(darwinOpenFlags(O_APPEND | O_TRUNC | O_NOCTTY)).toBe(0x8 | 0x400);
  expect(darwinOpenFlags(O_SYNC)).toBe(0x80 | 0x40_0000);
  expect(darwinRenameFlags(RENAME_NOREPLACE)).toBe(4);
  expect(darwinRenameFlags(RENAME_EXCHANGE)).toBe(2);
  expect(darwinRenameFlags(RENAME_WHITEOUT)).toBeUndefined();
  expect([XATTR_CREATE, XATTR_REPLACE].map(darwinXattrOptions)).toEqual([2, 4]);
  expect([SEEK_SET, SEEK_DATA, SEEK_HOLE].map(darwinWhence)).toEqual([0, 4, 3]);
});

/** `struct stat` of a device node, byte by byte as macOS lays it out. */
const statBytes = [
  "0a000001 b021 0200 8877665544332211 f5010000 14000000 03000010 00000000",
  "ffffffffffffffff 0100000000000000", // one second before the epoch
  "0200000000000000 0300000000000000",
  "0400000000000000 0500000000000000",
  "0600000000000000 0700000000000000",
  "0010000000000000 0800000000000000 00100000 00000000 2a000000 00000000",
  "00000000000000000000000000000000",
];

test("a macOS struct stat reads as the statx of Linux", () => {
  const bytes = Buffer.from(statBytes.join("").replaceAll(" ", ""), "hex");
  expect(bytes.length).toBe(darwinStatStruct.size);
  const out = new Uint8Array(statxStruct.size).fill(0xff);
  statxFromDarwin(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), out);
  expect(statxStruct.decode(out)).toMatchObject({
    stx_mode: 0o20660,
    stx_nlink: 2,
    stx_ino: 0x1122334455667788n,
    stx_uid: 501,
    stx_gid: 20,
    stx_size: 4096n,
    stx_blocks: 8n,
    stx_blksize: 4096,
    stx_dev_major: 1,
    stx_dev_minor: 10,
    stx_rdev_major: 16,
    stx_rdev_minor: 3,
    stx_mnt_id: 0n,
  });
  const times = [statxStruct.offsets.stx_atime, statxStruct.offsets.stx_btime].map((at) => {
    const view = new DataView(out.buffer);
    return [view.getBigInt64(at, true), view.getUint32(at + 8, true)];
  });
  expect(times).toEqual([
    [-1n, 1],
    [6n, 7],
  ]);
});

test("a macOS struct statfs reads as that of Linux", () => {
  const bytes = new Uint8Array(darwinStatfsStruct.size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 4096, true);
  [100n, 50n, 40n, 30n, 20n].forEach((count, i) => {
    view.setBigUint64(8 + 8 * i, count, true);
  });
  const out = new Uint8Array(statfsStruct.size);
  statfsFromDarwin(bytes, out);
  expect(statfsStruct.decode(out)).toMatchObject({
    f_bsize: 4096n,
    f_frsize: 4096n,
    f_blocks: 100n,
    f_bfree: 50n,
    f_bavail: 40n,
    f_files: 30n,
    f_ffree: 20n,
    f_namelen: 255n,
  });
});

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

test("a listing is continued in records of Linux, whatever fits at a time", () => {
  fc.assert(
    fc.property(
      fc.array(dirent, { maxLength: 20 }),
      fc.integer({ min: 288, max: 2000 }),
      (entries, room) => {
        const out = new Uint8Array(room);
        const listed: DarwinDirent[] = [];
        for (let first = 0; first < entries.length; ) {
          const records = readLinux(out.subarray(0, writeLinuxDirents(entries, first, out)));
          expect(records.length).toBeGreaterThan(0);
          for (const { next, ...entry } of records) {
            listed.push(entry);
            first = Number(next);
          }
        }
        expect(listed).toEqual(entries);
        expect(writeLinuxDirents(entries, entries.length, out)).toBe(0);
      },
    ),
  );
});
