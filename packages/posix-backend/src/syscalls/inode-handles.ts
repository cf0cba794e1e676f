/**
 * System calls of the node table: file handles (open_by_handle_at(2)), and what memory and threads need.
 * As in `linux.ts`, each returns its result or a negated errno.
 */
import { lastErrno, lazyFunction } from "@supermachine-internal/libc";
import { AT_EMPTY_PATH, O_CLOEXEC, O_NOFOLLOW, O_PATH } from "./constants.js";

function outcome(result: number): number {
  return result === -1 ? -lastErrno() : result;
}

const native = {
  nameToHandleAt: lazyFunction<
    (dir: number, path: string, handle: Uint8Array, mountId: Uint8Array, flags: number) => number
  >(
    "int name_to_handle_at(int dirfd, const char *pathname, void *handle, void *mount_id, int flags)",
  ),
  openByHandleAt: lazyFunction<(mountFd: number, handle: Uint8Array, flags: number) => number>(
    "int open_by_handle_at(int mount_fd, void *handle, int flags)",
  ),
  madvise: lazyFunction<(address: bigint, length: number, advice: number) => number>(
    "int madvise(void *addr, size_t length, int advice)",
  ),
  schedYield: lazyFunction<() => number>("int sched_yield(void)"),
};

const mountId = new Uint8Array(4);

/** Writes the `struct file_handle` of what `fd` holds; its `handle_bytes` says how much room there is. */
export function nameToHandle(fd: number, handle: Uint8Array): number {
  return outcome(native.nameToHandleAt(fd, "", handle, mountId, AT_EMPTY_PATH));
}

/** An O_PATH handle of the inode that a `struct file_handle` names, in the mount of `mountFd`. */
export function openByHandle(mountFd: number, handle: Uint8Array): number {
  return outcome(native.openByHandleAt(mountFd, handle, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

const MADV_DONTNEED = 4;

/** Gives whole pages of private anonymous memory back: they read as zeros from now on. */
export function discardPages(address: bigint, length: number): void {
  native.madvise(address, length, MADV_DONTNEED);
}

export function yieldProcessor(): void {
  native.schedYield();
}
