import {
  F_RDLCK,
  F_UNLCK,
  F_WRLCK,
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
import { probeHeaders, requireFacility, structLayout } from "@supermachine-internal/testing";
import { expect, test } from "vitest";
import { O_DIRECTORY, UTIME_NOW, UTIME_OMIT } from "../syscalls/constants.js";
import { statfsStruct, statxStruct, timespecStruct } from "../syscalls/structs.js";
import {
  darwinOpenFlags,
  darwinRenameFlags,
  darwinSocketAddress,
  darwinStatfsStruct,
  darwinStatStruct,
  darwinWhence,
  darwinXattrOptions,
  fpunchholeStruct,
  fstoreStruct,
  sockaddrUnStruct,
  statfsFromDarwin,
  statxFromDarwin,
} from "./darwin-abi.js";
import { darwinTimes } from "./darwin-data.js";
import { darwinDirentStruct } from "./darwin-listing.js";
import { darwinFlockStruct, decodeDarwinLock, encodeDarwinLock } from "./darwin-locks.js";

test("flags of system calls become those of macOS", () => {
  expect(darwinOpenFlags(O_RDWR | O_CREAT | O_EXCL)).toBe(0x2 | 0x200 | 0x800);
  expect(darwinOpenFlags(O_APPEND | O_TRUNC | O_NOCTTY)).toBe(0x8 | 0x400 | 0x2_0000);
  // Bits of O_SYNC and of O_DIRECTORY are alike on the two, and mean something else.
  expect(darwinOpenFlags(O_SYNC)).toBe(0x80 | 0x40_0000);
  expect(darwinOpenFlags(O_DIRECTORY)).toBe(0x10_0000);
  expect(O_SYNC & O_DIRECTORY).toBe(0);
  expect(darwinRenameFlags(RENAME_NOREPLACE)).toBe(4);
  expect(darwinRenameFlags(RENAME_EXCHANGE)).toBe(2);
  expect(darwinRenameFlags(RENAME_WHITEOUT)).toBeUndefined();
  expect([XATTR_CREATE, XATTR_REPLACE].map(darwinXattrOptions)).toEqual([2, 4]);
  expect([SEEK_SET, SEEK_DATA, SEEK_HOLE].map(darwinWhence)).toEqual([0, 4, 3]);
});

/** As sys/stat.h, sys/mount.h, sys/fcntl.h, sys/un.h and sys/dirent.h declare them for 64-bit machines. */
const declarations = `
#include <stdint.h>
struct darwin_timespec { int64_t tv_sec; long tv_nsec; };
struct stat {
  int32_t st_dev; uint16_t st_mode; uint16_t st_nlink; uint64_t st_ino; uint32_t st_uid;
  uint32_t st_gid; int32_t st_rdev; struct darwin_timespec st_atimespec, st_mtimespec, st_ctimespec,
  st_birthtimespec; int64_t st_size; int64_t st_blocks; int32_t st_blksize; uint32_t st_flags;
  uint32_t st_gen; int32_t st_lspare; int64_t st_qspare[2];
};
struct statfs {
  uint32_t f_bsize; int32_t f_iosize; uint64_t f_blocks, f_bfree, f_bavail, f_files, f_ffree;
  struct { int32_t val[2]; } f_fsid; uint32_t f_owner, f_type, f_flags, f_fssubtype;
  char f_fstypename[16], f_mntonname[1024], f_mntfromname[1024];
  uint32_t f_flags_ext, f_reserved[7];
};
struct fstore {
  unsigned int fst_flags; int fst_posmode; int64_t fst_offset, fst_length, fst_bytesalloc;
};
struct fpunchhole { unsigned int fp_flags, reserved; int64_t fp_offset, fp_length; };
struct flock { int64_t l_start, l_len; int32_t l_pid; short l_type, l_whence; };
struct sockaddr_un { unsigned char sun_len, sun_family; char sun_path[104]; };
struct dirent {
  uint64_t d_ino, d_seekoff; uint16_t d_reclen, d_namlen; uint8_t d_type; char d_name[1024];
};`;

requireFacility("linux", "program:cc").test(
  "structs have the sizes and offsets of Apple's declarations",
  () => {
    const structs = [
      darwinStatStruct,
      darwinStatfsStruct,
      fstoreStruct,
      fpunchholeStruct,
      darwinFlockStruct,
      sockaddrUnStruct,
      darwinDirentStruct,
    ];
    const isOurs = (field: string) => field === "_padding";
    const declared = new Map(structs.flatMap((struct) => structLayout(struct, isOurs)));
    // Ours ends where the name begins.
    declared.delete("sizeof(struct dirent)");
    declared.set("offsetof(struct dirent, d_name)", BigInt(darwinDirentStruct.size));
    const probe = { prelude: declarations, headers: ["stddef.h"], expressions: declared.keys() };
    expect(probeHeaders(probe)).toEqual(declared);
  },
);

test("locks of open files become those of macOS, and come back", () => {
  const bytes = encodeDarwinLock(F_WRLCK, 5, 9);
  expect(Buffer.from(bytes).toString("hex")).toBe(
    ["0500000000000000", "0500000000000000", "00000000", "0300", "0000"].join(""),
  );
  for (const type of [F_RDLCK, F_WRLCK, F_UNLCK]) {
    for (const end of [7, Number.POSITIVE_INFINITY]) {
      expect(decodeDarwinLock(encodeDarwinLock(type, 7, end))).toEqual({
        type,
        start: 7,
        end,
        pid: 0,
      });
    }
  }
});

test("times that are now, or stay, become those of macOS", () => {
  const times = new Uint8Array(2 * timespecStruct.size);
  timespecStruct.encode({ tv_sec: 0n, tv_nsec: BigInt(UTIME_NOW) }, times);
  timespecStruct.encode({ tv_sec: 0n, tv_nsec: BigInt(UTIME_OMIT) }, times.subarray(16));
  const own = darwinTimes(times);
  expect(timespecStruct.decode(own).tv_nsec).toBe(-1n);
  expect(timespecStruct.decode(own.subarray(16)).tv_nsec).toBe(-2n);
  expect(timespecStruct.decode(times).tv_nsec).toBe(BigInt(UTIME_NOW));
});

test("sockets have addresses as far as names fit", () => {
  const address = darwinSocketAddress(Buffer.from("socket\0"));
  expect(address?.subarray(0, 9)).toEqual(Uint8Array.from([106, 1, ...Buffer.from("socket"), 0]));
  expect(darwinSocketAddress(Buffer.from(`${"x".repeat(103)}\0`))).toHaveLength(106);
  expect(darwinSocketAddress(Buffer.from(`${"x".repeat(104)}\0`))).toBeUndefined();
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
  bytes.set(Buffer.from("nfs"), darwinStatfsStruct.offsets.f_fstypename);
  const out = new Uint8Array(statfsStruct.size);
  statfsFromDarwin(bytes, out);
  expect(statfsStruct.decode(out)).toMatchObject({
    f_type: 0x6969n,
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
