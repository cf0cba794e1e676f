/** The system calls of Linux, as the rest of this package makes them. */
import { O_PATH } from "../syscalls/constants.js";
import { discardPages as discardAt } from "../syscalls/inode-handles.js";
import { type CString, reopen } from "../syscalls/linux.js";

export {
  closeAside,
  copyFileRangeAside,
  fallocateAside,
  fdatasyncAside,
  fsyncAside,
  preadvAside,
  syncfsAside,
} from "../syscalls/aside.js";
export { yieldProcessor } from "../syscalls/inode-handles.js";
export * from "../syscalls/linux.js";
export { findRecordLock, setFileLock, setRecordLock } from "../syscalls/locks.js";

/**
 * A handle of the file that is open as `fd`, and that was made as `name` below `dir`, or without a name.
 */
export function openMade(
  procFd: number,
  fd: number,
  _dir: number,
  _name: CString | undefined,
): number {
  return reopen(procFd, fd, O_PATH);
}

/**
 * Whether a handle surely stands for the inode whose `struct statx` is given, which has the same number. An O_PATH
 * handle keeps its inode, and so the number.
 */
export function isSameInode(_fd: number, _statx: Uint8Array): boolean {
  return true;
}

/** Gives whole pages of private anonymous memory back: they read as zeros from now on. */
export function discardPages(address: bigint, words: Uint32Array): void {
  discardAt(address, words.byteLength);
}
