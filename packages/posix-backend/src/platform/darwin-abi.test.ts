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
import { expect, test } from "vitest";
import { statfsStruct, statxStruct } from "../syscalls/structs.js";
import {
  darwinOpenFlags,
  darwinRenameFlags,
  darwinStatfsStruct,
  darwinStatStruct,
  darwinWhence,
  darwinXattrOptions,
  statfsFromDarwin,
  statxFromDarwin,
} from "./darwin-abi.js";

test("flags of system calls become those of macOS", () => {
  expect(darwinOpenFlags(O_RDWR | O_CREAT | O_EXCL)).toBe(0x2 | 0x200 | 0x800);
  expect(darwinOpenFlags(O_APPEND | O_TRUNC | O_NOCTTY)).toBe(0x8 | 0x400 | 0x2_0000);
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
