/**
 * System calls that may wait for a disk or a server, on a thread of the pool meanwhile. Each promise resolves
 * to the result or a negated errno, and never rejects. What the call works on, fds and memory, must
 * stay until then.
 */
import { EIO } from "@supermachine/fuse-protocol";
import { cLibrary, lastErrno } from "@supermachine-internal/libc";

type Callback = (error: unknown, result: number | bigint) => void;

interface AsyncFunction {
  async(...argumentsAndCallback: unknown[]): void;
}

/** @param errnoOf - What the wire has for an errno of this platform. */
export function functionAside<T extends unknown[]>(
  prototype: string,
  errnoOf: (errno: number) => number = (errno) => errno,
): (...values: T) => Promise<number> {
  let native: AsyncFunction | undefined;
  return (...values) =>
    new Promise((resolve) => {
      native ??= cLibrary().func(prototype) as unknown as AsyncFunction;
      const done: Callback = (error, result) => {
        // koffi keeps the errno of the call for its callback.
        if (error !== null && error !== undefined) resolve(-EIO);
        else resolve(result === -1 ? -errnoOf(lastErrno()) : Number(result));
      };
      native.async(...values, done);
    });
}

export const closeAside = functionAside<[fd: number]>("int close(int fd)");
export const fsyncAside = functionAside<[fd: number]>("int fsync(int fd)");
export const fdatasyncAside = functionAside<[fd: number]>("int fdatasync(int fd)");
export const syncfsAside = functionAside<[fd: number]>("int syncfs(int fd)");

export const fallocateAside = functionAside<
  [fd: number, mode: number, offset: number, length: number]
>("int fallocate64(int fd, int mode, int64_t offset, int64_t len)");

/** `vectors` holds `count` packed `struct iovec`, at most 1024. */
export const preadvAside = functionAside<
  [fd: number, vectors: Uint8Array, count: number, offset: number]
>("intptr_t preadv64(int fd, const void *iov, int iovcnt, int64_t offset)");

const copyNative = functionAside<
  [
    from: number,
    fromOffset: BigInt64Array,
    to: number,
    toOffset: BigInt64Array,
    length: number,
    flags: number,
  ]
>(
  "intptr_t copy_file_range(int fd_in, void *off_in, int fd_out, void *off_out, size_t len, unsigned int flags)",
);

export function copyFileRangeAside(
  from: number,
  fromOffset: number,
  to: number,
  toOffset: number,
  length: number,
): Promise<number> {
  const source = BigInt64Array.of(BigInt(fromOffset));
  return copyNative(from, source, to, BigInt64Array.of(BigInt(toOffset)), length, 0);
}
