/**
 * What {@link portableCalls} is built of: the calls of POSIX on open files, and on one name below an open directory.
 * Flags, errnos and layouts are Linux's; a symbolic link is never followed; every new fd is close-on-exec.
 */
import type { CString } from "../../syscalls/linux.js";
import type { LockedRange } from "../../syscalls/locks.js";

export interface PosixCalls {
  /** Opens the directory at a path of the embedder, by the usual rules. */
  openDirectory(path: string): number;
  /**
   * Opens `name` below `dir` for nothing but to hold it: without waiting for whoever opens the other end of a FIFO,
   * and for directories so that names can be looked up in it.
   */
  hold(dir: number, name: CString, isDirectory: boolean): number;
  openAt(dir: number, name: CString, flags: number, mode: number): number;
  /** Opens the very file that `fd` holds anew, whatever its name is; ENOSYS where that cannot be. */
  openInode(fd: number, flags: number): number;
  close(fd: number): number;
  duplicate(fd: number): number;
  /** The present path of what `fd` holds, without a terminator: a hint, never to be trusted. */
  pathOf(fd: number, out: Uint8Array): number;

  fstat(fd: number, statx: Uint8Array): number;
  fstatAt(dir: number, name: CString, statx: Uint8Array): number;
  fchmod(fd: number, mode: number): number;
  fchmodAt(dir: number, name: CString, mode: number): number;
  fchown(fd: number, uid: number, gid: number): number;
  fchownAt(dir: number, name: CString, uid: number, gid: number): number;
  futimens(fd: number, times: Uint8Array): number;
  utimensAt(dir: number, name: CString, times: Uint8Array): number;
  accessAt(dir: number, name: CString, mode: number): number;
  fstatfs(fd: number, statfs: Uint8Array): number;

  makeDirectoryAt(dir: number, name: CString, mode: number): number;
  makeNodeAt(dir: number, name: CString, mode: number, device: number): number;
  symlinkAt(target: CString, dir: number, name: CString): number;
  readlinkAt(dir: number, name: CString, out: Uint8Array): number;
  linkAt(oldDir: number, oldName: CString, dir: number, name: CString): number;
  unlinkAt(dir: number, name: CString): number;
  rmdirAt(dir: number, name: CString): number;
  renameAt(
    oldDir: number,
    oldName: CString,
    newDir: number,
    newName: CString,
    flags: number,
  ): number;

  getdents64(fd: number, out: Uint8Array): number;
  lseek(fd: number, offset: number | bigint, whence: number): number;
  pread(fd: number, to: Uint8Array, offset: number): number;
  pwrite(fd: number, from: Uint8Array, offset: number): number;
  preadv(fd: number, vectors: Uint8Array, count: number, offset: number): number;
  pwritev(fd: number, vectors: Uint8Array, count: number, offset: number): number;
  ftruncate(fd: number, size: number): number;
  /** Sets whether each write to an open file goes to its end (O_APPEND); whether it did so before. */
  setAppends(fd: number, appends: boolean): boolean;
  /** Makes room for a range; the size of the file stays. */
  preallocate(fd: number, offset: number, length: number): number;
  /** Makes a hole of whole blocks of the file system. */
  punchHole(fd: number, offset: number, length: number): number;

  // On another thread.
  closeAside(fd: number): Promise<number>;
  preadvAside(fd: number, vectors: Uint8Array, count: number, offset: number): Promise<number>;
  fsyncAside(fd: number): Promise<number>;
  fdatasyncAside(fd: number): Promise<number>;
  /** Everything of the file system that `fd` is on. */
  syncfsAside(fd: number): Promise<number>;

  fsetxattr(fd: number, name: CString, value: Uint8Array, flags: number): number;
  fgetxattr(fd: number, name: CString, out: Uint8Array): number;
  flistxattr(fd: number, out: Uint8Array): number;
  fremovexattr(fd: number, name: CString): number;

  /** As in `syscalls/locks.ts`. */
  setRecordLock(fd: number, type: number, start: number, end: number): number;
  findRecordLock(fd: number, type: number, start: number, end: number): LockedRange | number;
  setFileLock(fd: number, type: number): number;

  getrlimit(resource: number, out: Uint8Array): number;
  /** Tells that pages need not be kept: until they are written they read as now, or as zeros. */
  freePages(address: bigint, length: number): void;
  yieldProcessor(): void;
}
