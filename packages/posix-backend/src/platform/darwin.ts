/**
 * The system calls of macOS in the form of those of Linux: same names, same arguments, results in Linux's
 * layouts and negated Linux errnos. Not run so far: there was no macOS to run it on. What can be tested
 * elsewhere is in `darwin-abi.ts` and `darwin-errno.ts`.
 *
 * There is no O_PATH: a handle is opened for events only (O_EVTONLY), which takes no permission to read, with
 * O_SYMLINK, so that it may be a symbolic link. There is no /proc: a handle is reopened as
 * `/.vol/DEVICE/INODE`, the kernel's own path of an inode, which no rename can turn into another's. What macOS has
 * no call for answers ENOSYS or EOPNOTSUPP, and the client goes without.
 */
import { constants } from "node:fs";
import {
  ENOSYS,
  EOPNOTSUPP,
  ESTALE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  S_IFIFO,
  S_IFMT,
  S_IFREG,
} from "@supermachine/fuse-protocol";
import { cLibrary, lastErrno, lazyFunction } from "@supermachine-internal/libc";
import type { KoffiFunc } from "koffi";
import { UTIME_NOW, UTIME_OMIT } from "../syscalls/constants.js";
import type { CString } from "../syscalls/linux.js";
import { timespecStruct } from "../syscalls/structs.js";
import {
  darwinOpenFlags,
  darwinRenameFlags,
  darwinStatfsStruct,
  darwinStatStruct,
  darwinWhence,
  darwinXattrOptions,
  fpunchholeStruct,
  fstoreStruct,
  statfsFromDarwin,
  statxFromDarwin,
} from "./darwin-abi.js";
import { linuxErrno } from "./darwin-errno.js";
import { DarwinListing } from "./darwin-listing.js";

const AT_FDCWD = -2;
const AT_SYMLINK_NOFOLLOW = 0x20;
const AT_REMOVEDIR = 0x80;
const O_NOFOLLOW = 0x100;
const O_EVTONLY = 0x8000;
const O_SYMLINK = 0x20_0000;
const O_CLOEXEC = 0x100_0000;
const F_PREALLOCATE = 42;
const F_FULLFSYNC = 51;
const F_PUNCHHOLE = 99;
const F_ALLOCATEALL = 4;
const F_PEOFPOSMODE = 3;
const RLIMIT_NOFILE = 8;

/** Bits of the open flags that this package uses and Linux has alone. */
const LINUX_O_PATH = 0o10000000;
const LINUX_TMPFILE = 0o20000000;

type Path = CString | string;

/** On x86-64 the plain names are those of calls with 32-bit inode numbers; koffi's prototypes have no `$`. */
function lazyInode64<T extends (...args: never[]) => number>(
  name: string,
  parameters: readonly string[],
): T {
  const symbol = process.arch === "x64" ? `${name}$INODE64` : name;
  let native: KoffiFunc<T> | undefined;
  return ((...args: Parameters<T>) => {
    native ??= cLibrary().func(symbol, "int", [...parameters]) as KoffiFunc<T>;
    return native(...args);
  }) as T;
}

const native = {
  // Variadic arguments go on the stack on arm64.
  openat: lazyFunction<
    (dir: number, path: Path, flags: number, type: "int", mode: number) => number
  >("int openat(int dirfd, const char *path, int flags, ...)"),
  fcntl: lazyFunction<
    (fd: number, command: number, type: "void *", argument: Uint8Array) => number
  >("int fcntl(int fd, int cmd, ...)"),
  close: lazyFunction<(fd: number) => number>("int close(int fd)"),
  fstat: lazyInode64<(fd: number, out: Uint8Array) => number>("fstat", ["int", "void *"]),
  fstatat: lazyInode64<(dir: number, path: Path, out: Uint8Array, flags: number) => number>(
    "fstatat",
    ["int", "const char *", "void *", "int"],
  ),
  fstatfs: lazyInode64<(fd: number, out: Uint8Array) => number>("fstatfs", ["int", "void *"]),
  getdirentries: lazyFunction<
    (fd: number, out: Uint8Array, size: number, base: BigInt64Array) => number
  >("intptr_t __getdirentries64(int fd, void *buf, size_t nbytes, void *basep)"),
  lseek: lazyFunction<(fd: number, offset: number | bigint, whence: number) => number | bigint>(
    "int64_t lseek(int fd, int64_t offset, int whence)",
  ),
  mkdirat: lazyFunction<(dir: number, path: Path, mode: number) => number>(
    "int mkdirat(int fd, const char *path, uint16_t mode)",
  ),
  mkfifoat: lazyFunction<(dir: number, path: Path, mode: number) => number>(
    "int mkfifoat(int fd, const char *path, uint16_t mode)",
  ),
  symlinkat: lazyFunction<(target: CString, dir: number, path: Path) => number>(
    "int symlinkat(const char *name1, int fd, const char *name2)",
  ),
  linkat: lazyFunction<
    (oldDir: number, oldPath: Path, newDir: number, newPath: Path, flags: number) => number
  >("int linkat(int fd1, const char *name1, int fd2, const char *name2, int flag)"),
  unlinkat: lazyFunction<(dir: number, path: Path, flags: number) => number>(
    "int unlinkat(int fd, const char *path, int flag)",
  ),
  renameatx: lazyFunction<
    (oldDir: number, oldPath: Path, newDir: number, newPath: Path, flags: number) => number
  >("int renameatx_np(int fromfd, const char *from, int tofd, const char *to, unsigned int flags)"),
  readlinkat: lazyFunction<(dir: number, path: Path, out: Uint8Array, size: number) => number>(
    "intptr_t readlinkat(int fd, const char *path, void *buf, size_t bufsize)",
  ),
  fchmod: lazyFunction<(fd: number, mode: number) => number>("int fchmod(int fd, uint16_t mode)"),
  fchown: lazyFunction<(fd: number, uid: number, gid: number) => number>(
    "int fchown(int fd, unsigned int owner, unsigned int group)",
  ),
  futimens: lazyFunction<(fd: number, times: Uint8Array) => number>(
    "int futimens(int fd, const void *times)",
  ),
  ftruncate: lazyFunction<(fd: number, size: number) => number>(
    "int ftruncate(int fd, int64_t length)",
  ),
  fsync: lazyFunction<(fd: number) => number>("int fsync(int fd)"),
  fsetxattr: lazyFunction<
    (
      fd: number,
      name: CString,
      value: Uint8Array,
      size: number,
      position: number,
      options: number,
    ) => number
  >(
    "int fsetxattr(int fd, const char *name, const void *value, size_t size, uint32_t position, int options)",
  ),
  fgetxattr: lazyFunction<
    (
      fd: number,
      name: CString,
      out: Uint8Array,
      size: number,
      position: number,
      options: number,
    ) => number
  >(
    "intptr_t fgetxattr(int fd, const char *name, void *value, size_t size, uint32_t position, int options)",
  ),
  flistxattr: lazyFunction<(fd: number, out: Uint8Array, size: number, options: number) => number>(
    "intptr_t flistxattr(int fd, void *namebuf, size_t size, int options)",
  ),
  fremovexattr: lazyFunction<(fd: number, name: CString, options: number) => number>(
    "int fremovexattr(int fd, const char *name, int options)",
  ),
  getrlimit: lazyFunction<(resource: number, out: Uint8Array) => number>(
    "int getrlimit(int resource, void *rlp)",
  ),
};

function outcome(result: number): number {
  return result === -1 ? -linuxErrno(lastErrno()) : result;
}

function open(dir: number, path: Path, flags: number, mode: number): number {
  if ((flags & LINUX_TMPFILE) !== 0) return -EOPNOTSUPP;
  const isHandle = (flags & LINUX_O_PATH) !== 0;
  const how = isHandle ? O_EVTONLY | O_SYMLINK : darwinOpenFlags(flags) | O_NOFOLLOW;
  const directory = flags & constants.O_DIRECTORY;
  return outcome(native.openat(dir, path, how | directory | O_CLOEXEC, "int", mode));
}

const statBytes = new Uint8Array(darwinStatStruct.size);
const statView = new DataView(statBytes.buffer);
const statAt = darwinStatStruct.offsets;

/** The path of the inode that `fd` holds, whatever its names are; or a negated errno. */
function inodePath(fd: number): string | number {
  const failure = outcome(native.fstat(fd, statBytes));
  if (failure < 0) return failure;
  const inode = statView.getBigUint64(statAt.st_ino, true);
  return `/.vol/${statView.getInt32(statAt.st_dev, true)}/${inode}`;
}

export function openPath(path: string, flags: number): number {
  const directory = flags & constants.O_DIRECTORY;
  return outcome(native.openat(AT_FDCWD, path, O_EVTONLY | directory | O_CLOEXEC, "int", 0));
}

export function openAt(dir: number, name: Path, flags: number, mode = 0): number {
  return open(dir, name, flags, mode);
}

/** Verified: volumes without inode paths may answer with something else. */
export function reopen(_procFd: number, fd: number, flags: number): number {
  const path = inodePath(fd);
  if (typeof path === "number") return path;
  const opened = open(AT_FDCWD, path, flags, 0);
  if (opened < 0) return opened;
  if (inodePath(opened) === path) return opened;
  close(opened);
  return -ESTALE;
}

/** There is no RESOLVE_BENEATH: the policy `follow` shows links as links. */
export function resolveAt(_dir: number, _path: CString, _resolve: number): number {
  return -ENOSYS;
}

export function readMagicLink(_procFd: number, _fd: number, _out: Uint8Array): number {
  return -ENOSYS;
}

export function close(fd: number): number {
  listings.delete(fd);
  return outcome(native.close(fd));
}

export function statx(fd: number, out: Uint8Array): number {
  const result = outcome(native.fstat(fd, statBytes));
  if (result === 0) statxFromDarwin(statView, out);
  return result;
}

export function statxAt(dir: number, name: CString, out: Uint8Array): number {
  const result = outcome(native.fstatat(dir, name, statBytes, AT_SYMLINK_NOFOLLOW));
  if (result === 0) statxFromDarwin(statView, out);
  return result;
}

const statfsBytes = new Uint8Array(darwinStatfsStruct.size);

export function fstatfs(fd: number, out: Uint8Array): number {
  const result = outcome(native.fstatfs(fd, statfsBytes));
  if (result === 0) statfsFromDarwin(statfsBytes, out);
  return result;
}

export function mkdirAt(dir: number, name: CString, mode: number): number {
  return outcome(native.mkdirat(dir, name, mode));
}

/** Regular files and FIFOs; sockets are made by bind(2) only, and devices are refused anyway. */
export function mknodAt(dir: number, name: CString, mode: number, _device: number): number {
  const permissions = mode & ~S_IFMT;
  if ((mode & S_IFMT) === S_IFIFO) return outcome(native.mkfifoat(dir, name, permissions));
  if ((mode & S_IFMT) !== S_IFREG) return -EOPNOTSUPP;
  const how = constants.O_CREAT | constants.O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const fd = outcome(native.openat(dir, name, how, "int", permissions));
  return fd < 0 ? fd : close(fd);
}

export function symlinkAt(target: CString, dir: number, name: CString): number {
  return outcome(native.symlinkat(target, dir, name));
}

/** link(2) would link what a symbolic link leads to; linkat(2) without AT_SYMLINK_FOLLOW links itself. */
export function linkAt(_procFd: number, fd: number, dir: number, name: CString): number {
  const path = inodePath(fd);
  return typeof path === "number" ? path : outcome(native.linkat(AT_FDCWD, path, dir, name, 0));
}

export function unlinkAt(dir: number, name: CString): number {
  return outcome(native.unlinkat(dir, name, 0));
}

export function rmdirAt(dir: number, name: CString): number {
  return outcome(native.unlinkat(dir, name, AT_REMOVEDIR));
}

export function renameAt(
  oldDir: number,
  oldName: CString,
  newDir: number,
  newName: CString,
  flags: number,
): number {
  const how = darwinRenameFlags(flags);
  if (how === undefined) return -EOPNOTSUPP;
  return outcome(native.renameatx(oldDir, oldName, newDir, newName, how));
}

export function readlink(fd: number, out: Uint8Array): number {
  const path = inodePath(fd);
  return typeof path === "number"
    ? path
    : outcome(native.readlinkat(AT_FDCWD, path, out, out.length));
}

const listings = new Map<number, DarwinListing>();

/** Everything that a directory lists now, or a negated errno. */
function readListing(fd: number): DarwinListing | number {
  const base = new BigInt64Array(1);
  const listing = new DarwinListing();
  const rewound = outcome(Number(native.lseek(fd, 0, 0)));
  if (rewound < 0) return rewound;
  for (;;) {
    const length = outcome(native.getdirentries(fd, listingBytes, listingBytes.length, base));
    if (length <= 0) return length < 0 ? length : listing;
    listing.append(listingBytes.subarray(0, length));
  }
}

const listingBytes = new Uint8Array(65_536);

export function getdents64(fd: number, out: Uint8Array): number {
  const listing = listings.get(fd) ?? readListing(fd);
  if (typeof listing === "number") return listing;
  listings.set(fd, listing);
  return listing.read(out);
}

/** In a directory, to a position that its listing gave; 0 starts a new one. */
export function lseek(fd: number, offset: number | bigint, whence: number): number {
  const listing = listings.get(fd);
  if (listing === undefined) return outcome(Number(native.lseek(fd, offset, darwinWhence(whence))));
  if (Number(offset) === 0) listings.delete(fd);
  else listing.seek(Number(offset));
  return Number(offset);
}

export function fchmod(fd: number, mode: number): number {
  return outcome(native.fchmod(fd, mode));
}

export function chmodLink(_procFd: number, fd: number, mode: number): number {
  return outcome(native.fchmod(fd, mode));
}

export function chown(fd: number, uid: number, gid: number): number {
  return outcome(native.fchown(fd, uid, gid));
}

/** UTIME_NOW and UTIME_OMIT are -1 and -2. */
export function utimens(fd: number, times: Uint8Array): number {
  const own = Uint8Array.from(times);
  const view = new DataView(own.buffer);
  for (let at = timespecStruct.offsets.tv_nsec; at < own.length; at += timespecStruct.size) {
    const nanoseconds = view.getBigInt64(at, true);
    if (nanoseconds === BigInt(UTIME_NOW)) view.setBigInt64(at, -1n, true);
    else if (nanoseconds === BigInt(UTIME_OMIT)) view.setBigInt64(at, -2n, true);
  }
  return outcome(native.futimens(fd, own));
}

export function ftruncate(fd: number, size: number): number {
  return outcome(native.ftruncate(fd, size));
}

const noArgument = new Uint8Array(8);

/** fsync(2) of macOS leaves data in the drive's cache; F_FULLFSYNC does not, where the volume knows it. */
export function fsync(fd: number): number {
  const result = outcome(native.fcntl(fd, F_FULLFSYNC, "void *", noArgument));
  return result >= 0 ? 0 : outcome(native.fsync(fd));
}

/** Room for a file, or a hole in it; nothing else has a counterpart. */
export function fallocate(fd: number, mode: number, offset: number, length: number): number {
  if (mode === (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)) {
    const hole = new Uint8Array(fpunchholeStruct.size);
    fpunchholeStruct.encode(
      { fp_flags: 0, reserved: 0, fp_offset: BigInt(offset), fp_length: BigInt(length) },
      hole,
    );
    return outcome(native.fcntl(fd, F_PUNCHHOLE, "void *", hole));
  }
  if (mode !== 0 && mode !== FALLOC_FL_KEEP_SIZE) return -EOPNOTSUPP;
  const failure = outcome(native.fstat(fd, statBytes));
  if (failure < 0) return failure;
  const size = Number(statView.getBigInt64(statAt.st_size, true));
  const missing = offset + length - size;
  if (missing <= 0) return 0;
  const store = new Uint8Array(fstoreStruct.size);
  const fields = { fst_flags: F_ALLOCATEALL, fst_posmode: F_PEOFPOSMODE, fst_offset: 0n };
  fstoreStruct.encode({ ...fields, fst_length: BigInt(missing), fst_bytesalloc: 0n }, store);
  const result = outcome(native.fcntl(fd, F_PREALLOCATE, "void *", store));
  return result < 0 || mode === FALLOC_FL_KEEP_SIZE ? result : ftruncate(fd, offset + length);
}

export function setxattr(fd: number, name: CString, value: Uint8Array, flags: number): number {
  const options = darwinXattrOptions(flags);
  return outcome(native.fsetxattr(fd, name, value, value.length, 0, options));
}

export function getxattr(fd: number, name: CString, out: Uint8Array): number {
  return outcome(native.fgetxattr(fd, name, out, out.length, 0, 0));
}

export function listxattr(fd: number, out: Uint8Array): number {
  return outcome(native.flistxattr(fd, out, out.length, 0));
}

export function removexattr(fd: number, name: CString): number {
  return outcome(native.fremovexattr(fd, name, 0));
}

/** Whatever `resource` says: this package asks for fds only. */
export function getrlimit(_resource: number, out: Uint8Array): number {
  return outcome(native.getrlimit(RLIMIT_NOFILE, out));
}
