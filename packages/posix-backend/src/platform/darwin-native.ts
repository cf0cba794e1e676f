/** The functions of macOS's C library, and how their results become Linux's. */
import { cLibrary, lastErrno, lazyFunction } from "@supermachine-internal/libc";
import type { KoffiFunc } from "koffi";
import type { CString } from "../syscalls/linux.js";
import { darwinStatStruct } from "./darwin-abi.js";
import { linuxErrno } from "./darwin-errno.js";

export type Path = CString | string;

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

export const native = {
  // Variadic arguments go on the stack on arm64.
  openat: lazyFunction<
    (dir: number, path: Path, flags: number, type: "int", mode: number) => number
  >("int openat(int dirfd, const char *path, int flags, ...)"),
  fcntl: lazyFunction<
    (fd: number, command: number, type: "void *", argument: Uint8Array) => number
  >("int fcntl(int fd, int cmd, ...)"),
  fcntlOfNumber: lazyFunction<
    (fd: number, command: number, type: "int", argument: number) => number
  >("int fcntl(int fd, int cmd, ...)"),
  close: lazyFunction<(fd: number) => number>("int close(int fd)"),
  faccessat: lazyFunction<(dir: number, path: Path, mode: number, flags: number) => number>(
    "int faccessat(int fd, const char *path, int mode, int flag)",
  ),
  pread: lazyFunction<(fd: number, to: Uint8Array, length: number, offset: number) => number>(
    "intptr_t pread(int d, void *buf, size_t nbyte, int64_t offset)",
  ),
  pwrite: lazyFunction<(fd: number, from: Uint8Array, length: number, offset: number) => number>(
    "intptr_t pwrite(int fildes, const void *buf, size_t nbyte, int64_t offset)",
  ),
  preadv: lazyFunction<(fd: number, vectors: Uint8Array, count: number, offset: number) => number>(
    "intptr_t preadv(int d, const void *iov, int iovcnt, int64_t offset)",
  ),
  pwritev: lazyFunction<(fd: number, vectors: Uint8Array, count: number, offset: number) => number>(
    "intptr_t pwritev(int fildes, const void *iov, int iovcnt, int64_t offset)",
  ),
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
  fchmodat: lazyFunction<(dir: number, path: Path, mode: number, flags: number) => number>(
    "int fchmodat(int fd, const char *path, uint16_t mode, int flag)",
  ),
  fchownat: lazyFunction<
    (dir: number, path: Path, uid: number, gid: number, flags: number) => number
  >("int fchownat(int fd, const char *path, unsigned int owner, unsigned int group, int flag)"),
  utimensat: lazyFunction<(dir: number, path: Path, times: Uint8Array, flags: number) => number>(
    "int utimensat(int fd, const char *path, const void *times, int flag)",
  ),
  socket: lazyFunction<(domain: number, type: number, protocol: number) => number>(
    "int socket(int domain, int type, int protocol)",
  ),
  bind: lazyFunction<(socket: number, address: Uint8Array, length: number) => number>(
    "int bind(int socket, const void *address, uint32_t address_len)",
  ),
  /** Has this thread alone look relative paths up elsewhere; -1 ends that. */
  fchdirOfThread: lazyFunction<(fd: number) => number>("int pthread_fchdir_np(int fd)"),
  madvise: lazyFunction<(address: bigint, length: number, advice: number) => number>(
    "int madvise(void *addr, size_t len, int advice)",
  ),
  flock: lazyFunction<(fd: number, operation: number) => number>(
    "int flock(int fd, int operation)",
  ),
  schedYield: lazyFunction<() => number>("int sched_yield(void)"),
  fchown: lazyFunction<(fd: number, uid: number, gid: number) => number>(
    "int fchown(int fd, unsigned int owner, unsigned int group)",
  ),
  futimens: lazyFunction<(fd: number, times: Uint8Array) => number>(
    "int futimens(int fd, const void *times)",
  ),
  ftruncate: lazyFunction<(fd: number, size: number) => number>(
    "int ftruncate(int fd, int64_t length)",
  ),
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

/** The result, or a negated Linux errno. */
export function outcome(result: number): number {
  return result === -1 ? -linuxErrno(lastErrno()) : result;
}

/** `struct stat` of the latest call that was given it. */
export const statBytes = new Uint8Array(darwinStatStruct.size);
export const statView = new DataView(statBytes.buffer);
const statAt = darwinStatStruct.offsets;

/** The path of the inode that `fd` holds, whatever its names are; or a negated errno. */
export function inodePath(fd: number): string | number {
  const failure = outcome(native.fstat(fd, statBytes));
  if (failure < 0) return failure;
  const inode = statView.getBigUint64(statAt.st_ino, true);
  return `/.vol/${statView.getInt32(statAt.st_dev, true)}/${inode}`;
}
