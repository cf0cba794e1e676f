/** Locks of open file descriptions on macOS: see `darwin.ts`, and `syscalls/locks.ts` for what they do. */

import { F_RDLCK, F_UNLCK, F_WRLCK } from "@supermachine/fuse-protocol";
import { defineStruct } from "@supermachine-internal/struct";
import type { LockedRange } from "../syscalls/locks.js";
import * as darwin from "./darwin-constants.js";
import { native, outcome } from "./darwin-native.js";

/** `struct flock` of sys/fcntl.h. */
export const darwinFlockStruct = defineStruct("flock", 24, {
  l_start: "s64",
  l_len: "s64",
  l_pid: "s32",
  l_type: "s16",
  l_whence: "s16",
});

/** F_RDLCK, F_UNLCK and F_WRLCK: 1, 2, 3 there, and in Linux 0, 2, 1. */
const darwinTypes = new Map([
  [F_RDLCK, darwin.F_RDLCK],
  [F_UNLCK, darwin.F_UNLCK],
  [F_WRLCK, darwin.F_WRLCK],
]);

/** @param end - The last byte; `Infinity` is the end of the file, wherever it is. */
export function encodeDarwinLock(type: number, start: number, end: number): Uint8Array {
  const bytes = new Uint8Array(darwinFlockStruct.size);
  darwinFlockStruct.encode(
    {
      l_start: BigInt(start),
      l_len: end === Number.POSITIVE_INFINITY ? 0n : BigInt(end - start + 1),
      l_pid: 0,
      l_type: darwinTypes.get(type) ?? type,
      l_whence: 0,
    },
    bytes,
  );
  return bytes;
}

export function decodeDarwinLock(bytes: Uint8Array): LockedRange {
  const found = darwinFlockStruct.decode(bytes);
  const start = Number(found.l_start);
  const type = [...darwinTypes].find(([, number]) => number === found.l_type)?.[0] ?? F_UNLCK;
  const end = found.l_len === 0n ? Number.POSITIVE_INFINITY : start + Number(found.l_len) - 1;
  return { type, start, end, pid: found.l_pid };
}

export function setRecordLock(fd: number, type: number, start: number, end: number): number {
  const lock = encodeDarwinLock(type, start, end);
  return Math.min(outcome(native.fcntl(fd, darwin.F_OFD_SETLK, "void *", lock)), 0);
}

export function findRecordLock(
  fd: number,
  type: number,
  start: number,
  end: number,
): LockedRange | number {
  const lock = encodeDarwinLock(type, start, end);
  const failure = outcome(native.fcntl(fd, darwin.F_OFD_GETLK, "void *", lock));
  return failure < 0 ? failure : decodeDarwinLock(lock);
}

export function setFileLock(fd: number, type: number): number {
  const operation =
    type === F_UNLCK ? darwin.LOCK_UN : type === F_WRLCK ? darwin.LOCK_EX : darwin.LOCK_SH;
  return outcome(native.flock(fd, operation | darwin.LOCK_NB));
}
