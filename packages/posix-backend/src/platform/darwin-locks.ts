/** Locks of open file descriptions on macOS: see `darwin.ts`, and `syscalls/locks.ts` for what they do. */
import { F_RDLCK, F_UNLCK, F_WRLCK } from "@supermachine/fuse-protocol";
import { defineStruct } from "@supermachine-internal/struct";
import type { LockedRange } from "../syscalls/locks.js";
import { native, outcome } from "./darwin-native.js";

const F_OFD_SETLK = 90;
const F_OFD_GETLK = 92;
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

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
  [F_RDLCK, 1],
  [F_UNLCK, 2],
  [F_WRLCK, 3],
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
  const type = [...darwinTypes].find(([, darwin]) => darwin === found.l_type)?.[0] ?? F_UNLCK;
  const end = found.l_len === 0n ? Number.POSITIVE_INFINITY : start + Number(found.l_len) - 1;
  return { type, start, end, pid: found.l_pid };
}

export function setRecordLock(fd: number, type: number, start: number, end: number): number {
  const lock = encodeDarwinLock(type, start, end);
  return Math.min(outcome(native.fcntl(fd, F_OFD_SETLK, "void *", lock)), 0);
}

export function findRecordLock(
  fd: number,
  type: number,
  start: number,
  end: number,
): LockedRange | number {
  const lock = encodeDarwinLock(type, start, end);
  const failure = outcome(native.fcntl(fd, F_OFD_GETLK, "void *", lock));
  return failure < 0 ? failure : decodeDarwinLock(lock);
}

export function setFileLock(fd: number, type: number): number {
  const operation = type === F_UNLCK ? LOCK_UN : type === F_WRLCK ? LOCK_EX : LOCK_SH;
  return outcome(native.flock(fd, operation | LOCK_NB));
}
