/**
 * Locks of open file descriptions, which end with the description, whichever thread or process closes it:
 * `F_OFD_SETLK` and `F_OFD_GETLK` of fcntl(2), and flock(2). Results are 0 or a negated errno.
 */
import { F_UNLCK, F_WRLCK } from "@supermachine/fuse-protocol";
import { lastErrno, lazyFunction } from "@supermachine-internal/libc";
import { flockStruct } from "./structs.js";

const native = {
  // Variadic, but on Linux a pointer travels in the same register all the same.
  fcntl: lazyFunction<(fd: number, command: number, lock: Uint8Array) => number>(
    "int fcntl(int fd, int cmd, void *lock)",
  ),
  flock: lazyFunction<(fd: number, operation: number) => number>(
    "int flock(int fd, int operation)",
  ),
};

const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

/** The bytes from `start` to `end`, both included; `Infinity` is the end of the file, wherever it is. */
export interface LockedRange {
  readonly start: number;
  readonly end: number;
  /** `F_RDLCK`, `F_WRLCK` or `F_UNLCK`. */
  readonly type: number;
  /** -1 for the lock of an open file description. */
  readonly pid: number;
}

const lockBytes = new Uint8Array(flockStruct.size);

function encode(type: number, start: number, end: number): void {
  flockStruct.encode(
    {
      l_type: type,
      l_whence: 0,
      __pad0: 0,
      l_start: BigInt(start),
      l_len: end === Number.POSITIVE_INFINITY ? 0n : BigInt(end - start + 1),
      l_pid: 0,
      __pad1: 0,
    },
    lockBytes,
  );
}

/** Never waits: -EAGAIN when a lock of someone else conflicts. */
export function setRecordLock(fd: number, type: number, start: number, end: number): number {
  encode(type, start, end);
  return native.fcntl(fd, F_OFD_SETLK, lockBytes) === -1 ? -lastErrno() : 0;
}

/** The first lock that keeps this one from being set, of type `F_UNLCK` if there is none; or an errno. */
export function findRecordLock(
  fd: number,
  type: number,
  start: number,
  end: number,
): LockedRange | number {
  encode(type, start, end);
  if (native.fcntl(fd, F_OFD_GETLK, lockBytes) === -1) return -lastErrno();
  const found = flockStruct.decode(lockBytes);
  const from = Number(found.l_start);
  return {
    type: found.l_type,
    start: from,
    end: found.l_len === 0n ? Number.POSITIVE_INFINITY : from + Number(found.l_len) - 1,
    pid: found.l_pid,
  };
}

/** Never waits: -EAGAIN when a lock of someone else conflicts. */
export function setFileLock(fd: number, type: number): number {
  const operation = type === F_UNLCK ? LOCK_UN : type === F_WRLCK ? LOCK_EX : LOCK_SH;
  return native.flock(fd, operation | LOCK_NB) === -1 ? -lastErrno() : 0;
}
