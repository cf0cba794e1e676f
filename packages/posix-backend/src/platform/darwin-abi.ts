/**
 * What macOS and Linux write differently: flags that go into system calls, and structs that come out. The
 * rest of this package speaks Linux, as the wire does; nothing here makes a system call.
 *
 * Layouts are those of 64-bit macOS with 64-bit inode numbers, the same on arm64 and x86-64.
 */
import {
  O_ACCMODE,
  O_APPEND,
  O_CREAT,
  O_DSYNC,
  O_EXCL,
  O_NOCTTY,
  O_NONBLOCK,
  O_SYNC,
  O_TRUNC,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  SEEK_DATA,
  SEEK_HOLE,
  XATTR_CREATE,
  XATTR_REPLACE,
} from "@supermachine/fuse-protocol";
import { defineStruct } from "@supermachine-internal/struct";
import { O_DIRECTORY, STATX_BASIC_STATS, STATX_BTIME } from "../syscalls/constants.js";
import { statfsStruct, statxStruct } from "../syscalls/structs.js";
import * as darwin from "./darwin-constants.js";

/** `struct stat` of sys/stat.h; each time is a `struct timespec` of two 64-bit numbers. */
export const darwinStatStruct = defineStruct("stat", 144, {
  st_dev: "s32",
  st_mode: "u16",
  st_nlink: "u16",
  st_ino: "u64",
  st_uid: "u32",
  st_gid: "u32",
  st_rdev: "s32",
  _padding: "s32",
  st_atimespec: { bytes: 16 },
  st_mtimespec: { bytes: 16 },
  st_ctimespec: { bytes: 16 },
  st_birthtimespec: { bytes: 16 },
  st_size: "s64",
  st_blocks: "s64",
  st_blksize: "s32",
  st_flags: "u32",
  st_gen: "u32",
  st_lspare: "s32",
  st_qspare: { bytes: 16 },
});

/** `struct statfs` of sys/mount.h. */
export const darwinStatfsStruct = defineStruct("statfs", 2168, {
  f_bsize: "u32",
  f_iosize: "s32",
  f_blocks: "u64",
  f_bfree: "u64",
  f_bavail: "u64",
  f_files: "u64",
  f_ffree: "u64",
  f_fsid: { bytes: 8 },
  f_owner: "u32",
  f_type: "u32",
  f_flags: "u32",
  f_fssubtype: "u32",
  f_fstypename: { bytes: 16 },
  f_mntonname: { bytes: 1024 },
  f_mntfromname: { bytes: 1024 },
  f_flags_ext: "u32",
  f_reserved: { bytes: 28 },
});

/** `fstore_t` and `fpunchhole_t` of sys/fcntl.h, for fcntl(2). */
export const fstoreStruct = defineStruct("fstore", 32, {
  fst_flags: "u32",
  fst_posmode: "s32",
  fst_offset: "s64",
  fst_length: "s64",
  fst_bytesalloc: "s64",
});
export const fpunchholeStruct = defineStruct("fpunchhole", 24, {
  fp_flags: "u32",
  reserved: "u32",
  fp_offset: "s64",
  fp_length: "s64",
});

/** Flags of open(2) that have other numbers: Linux, macOS. */
const openFlags: readonly (readonly [linux: number, darwin: number])[] = [
  [O_NONBLOCK, darwin.O_NONBLOCK],
  [O_APPEND, darwin.O_APPEND],
  [O_CREAT, darwin.O_CREAT],
  [O_TRUNC, darwin.O_TRUNC],
  [O_EXCL, darwin.O_EXCL],
  [O_NOCTTY, darwin.O_NOCTTY],
  [O_DIRECTORY, darwin.O_DIRECTORY],
  [O_DSYNC, darwin.O_DSYNC],
];

/** The macOS form of those open flags that mean the same there; others are left out. */
export function darwinOpenFlags(linux: number): number {
  let flags = linux & O_ACCMODE;
  for (const [from, to] of openFlags) if ((linux & from) !== 0) flags |= to;
  // Linux's O_SYNC contains its O_DSYNC.
  return (linux & O_SYNC) === O_SYNC ? flags | darwin.O_SYNC : flags;
}

/** For renameatx_np(2): RENAME_EXCL and RENAME_SWAP. Undefined for what macOS cannot do. */
export function darwinRenameFlags(linux: number): number | undefined {
  if ((linux & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) !== 0) return undefined;
  const exclusive = (linux & RENAME_NOREPLACE) !== 0 ? darwin.RENAME_EXCL : 0;
  return exclusive | ((linux & RENAME_EXCHANGE) !== 0 ? darwin.RENAME_SWAP : 0);
}

/** For fsetxattr(2): the two flags change places, so to say. */
export function darwinXattrOptions(linux: number): number {
  const create = (linux & XATTR_CREATE) !== 0 ? darwin.XATTR_CREATE : 0;
  return create | ((linux & XATTR_REPLACE) !== 0 ? darwin.XATTR_REPLACE : 0);
}

/** SEEK_HOLE is 3 and SEEK_DATA 4, and in Linux the other way round. */
export function darwinWhence(linux: number): number {
  if (linux === SEEK_DATA) return darwin.SEEK_DATA;
  return linux === SEEK_HOLE ? darwin.SEEK_HOLE : linux;
}

/** `struct sockaddr_un` of sys/un.h, whose path need not end with a NUL. */
export const sockaddrUnStruct = defineStruct("sockaddr_un", 106, {
  sun_len: "u8",
  sun_family: "u8",
  sun_path: { bytes: 104 },
});

/** The address of the socket `name` in the directory that a thread is in; undefined for a longer name. */
export function darwinSocketAddress(name: Uint8Array): Uint8Array | undefined {
  const length = name.indexOf(0);
  const path = new Uint8Array(sockaddrUnStruct.size - sockaddrUnStruct.offsets.sun_path);
  if (length >= path.length) return undefined;
  path.set(name.subarray(0, length));
  const address = new Uint8Array(sockaddrUnStruct.size);
  sockaddrUnStruct.encode(
    { sun_len: address.length, sun_family: darwin.AF_UNIX, sun_path: path },
    address,
  );
  return address;
}

const stat = darwinStatStruct.offsets;
const statx = statxStruct.offsets;

/** Writes `struct stat` of macOS as `struct statx` of Linux. Without a mount id, which macOS does not have. */
export function statxFromDarwin(from: DataView, out: Uint8Array): void {
  const to = new DataView(out.buffer, out.byteOffset, out.length);
  out.fill(0, 0, statxStruct.size);
  to.setUint32(statx.stx_mask, STATX_BASIC_STATS | STATX_BTIME, true);
  to.setUint32(statx.stx_blksize, from.getInt32(stat.st_blksize, true), true);
  to.setUint32(statx.stx_nlink, from.getUint16(stat.st_nlink, true), true);
  to.setUint32(statx.stx_uid, from.getUint32(stat.st_uid, true), true);
  to.setUint32(statx.stx_gid, from.getUint32(stat.st_gid, true), true);
  to.setUint16(statx.stx_mode, from.getUint16(stat.st_mode, true), true);
  copy64(from, stat.st_ino, to, statx.stx_ino);
  copy64(from, stat.st_size, to, statx.stx_size);
  copy64(from, stat.st_blocks, to, statx.stx_blocks);
  for (const [time, timespec] of [
    [statx.stx_atime, stat.st_atimespec],
    [statx.stx_btime, stat.st_birthtimespec],
    [statx.stx_ctime, stat.st_ctimespec],
    [statx.stx_mtime, stat.st_mtimespec],
  ] as const) {
    copy64(from, timespec, to, time);
    // Nanoseconds: 64 bits there, 32 here.
    to.setUint32(time + 8, from.getUint32(timespec + 8, true), true);
  }
  const device = from.getInt32(stat.st_dev, true);
  to.setUint32(statx.stx_dev_major, device >>> 24, true);
  to.setUint32(statx.stx_dev_minor, device & 0xff_ffff, true);
  const special = from.getInt32(stat.st_rdev, true);
  to.setUint32(statx.stx_rdev_major, special >>> 24, true);
  to.setUint32(statx.stx_rdev_minor, special & 0xff_ffff, true);
}

function copy64(from: DataView, fromAt: number, to: DataView, toAt: number): void {
  to.setUint32(toAt, from.getUint32(fromAt, true), true);
  to.setUint32(toAt + 4, from.getUint32(fromAt + 4, true), true);
}

const NAME_MAX = 255n;

/** Those of a server, whose number in macOS depends on what was loaded first: as Linux has them (linux/magic.h). */
const networkTypes: ReadonlyMap<string, bigint> = new Map([
  ["nfs", 0x6969n],
  ["smbfs", 0xff534d42n],
  ["afpfs", 0x5346414fn],
  ["webdav", 0x65735546n],
  ["macfuse", 0x65735546n],
]);

/** Writes `struct statfs` of macOS as that of Linux. */
export function statfsFromDarwin(from: Uint8Array, out: Uint8Array): void {
  const host = darwinStatfsStruct.decode(from);
  const typeName = Buffer.from(host.f_fstypename).toString("latin1").replace(/\0.*$/s, "");
  statfsStruct.encode(
    {
      f_type: networkTypes.get(typeName) ?? BigInt(host.f_type),
      f_bsize: BigInt(host.f_bsize),
      f_blocks: host.f_blocks,
      f_bfree: host.f_bfree,
      f_bavail: host.f_bavail,
      f_files: host.f_files,
      f_ffree: host.f_ffree,
      f_fsid: host.f_fsid,
      f_namelen: NAME_MAX,
      f_frsize: BigInt(host.f_bsize),
      f_flags: 0n,
      f_spare: new Uint8Array(32),
    },
    out,
  );
}
