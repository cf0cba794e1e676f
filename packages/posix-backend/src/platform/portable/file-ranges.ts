/** Allocating, punching and copying ranges of files by what every system has. */
import {
  ENXIO,
  EOPNOTSUPP,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
} from "@supermachine/fuse-protocol";
import { UTIME_NOW, UTIME_OMIT } from "../../syscalls/constants.js";
import { statfsStruct, statxStruct, timespecStruct } from "../../syscalls/structs.js";
import type { PosixCalls } from "./posix-calls.js";

/** Of lseek(2) on Linux, as the calls take it. */
const SEEK_DATA = 3;
const PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
/** Times for futimens(2): the second is that of modification. */
const MODIFIED_NOW = new Uint8Array(2 * timespecStruct.size);
timespecStruct.encode({ tv_sec: 0n, tv_nsec: BigInt(UTIME_OMIT) }, MODIFIED_NOW);
timespecStruct.encode(
  { tv_sec: 0n, tv_nsec: BigInt(UTIME_NOW) },
  MODIFIED_NOW.subarray(timespecStruct.size),
);
/** Bytes copied by one request: whoever asks for more asks again. */
const COPIED_AT_ONCE = 1 << 20;

const statx = new Uint8Array(statxStruct.size);
const statxView = new DataView(statx.buffer);
const statfs = new Uint8Array(statfsStruct.size);
const statfsView = new DataView(statfs.buffer);
let scratch: Uint8Array | undefined;

function sizeOf(calls: PosixCalls, fd: number): number {
  const failure = calls.fstat(fd, statx);
  return failure < 0 ? failure : Number(statxView.getBigUint64(statxStruct.offsets.stx_size, true));
}

/** As fallocate(2): room for a file, or a hole in it; EOPNOTSUPP for all else. */
export function allocate(
  calls: PosixCalls,
  fd: number,
  mode: number,
  offset: number,
  length: number,
): number {
  if (mode === PUNCH) {
    const result = punch(calls, fd, offset, length);
    // The file counts as modified, also where there was nothing to do.
    if (result === 0) calls.futimens(fd, MODIFIED_NOW);
    return result;
  }
  if (mode !== 0 && mode !== FALLOC_FL_KEEP_SIZE) return -EOPNOTSUPP;
  const end = offset + length;
  const failure = calls.preallocate(fd, offset, length);
  if (failure < 0 || mode === FALLOC_FL_KEEP_SIZE) return failure;
  const size = sizeOf(calls, fd);
  return size < 0 || size >= end ? Math.min(size, 0) : calls.ftruncate(fd, end);
}

/** Whole blocks become holes; the bytes of a block beside them are written over. */
function punch(calls: PosixCalls, fd: number, offset: number, length: number): number {
  const size = sizeOf(calls, fd);
  const failure = size < 0 ? size : calls.fstatfs(fd, statfs);
  if (failure < 0) return failure;
  const end = Math.min(offset + length, size);
  if (offset >= end) return 0;
  const block = Number(statfsView.getBigInt64(statfsStruct.offsets.f_bsize, true));
  const first = Math.ceil(offset / block) * block;
  // The last block may go on behind the end of the file.
  const last = end === size ? Math.ceil(end / block) * block : Math.floor(end / block) * block;
  const edges: [from: number, end: number][] =
    first < last
      ? [
          [offset, first],
          [last, end],
        ]
      : // Of two blocks there is a part of each.
        [
          [offset, Math.min(first, end)],
          [first, end],
        ];
  let result = first < last ? calls.punchHole(fd, first, last - first) : 0;
  for (const [from, to] of edges) if (result >= 0) result = clearPart(calls, fd, from, to);
  return result;
}

/** Writes over a part of one block, unless that is a hole already. */
function clearPart(calls: PosixCalls, fd: number, from: number, end: number): number {
  if (from >= end) return 0;
  const data = calls.lseek(fd, from, SEEK_DATA);
  if (data === -ENXIO || data >= end) return 0;
  // To write at an offset appends all the same where a file is open so.
  const appends = calls.setAppends(fd, false);
  let result = 0;
  for (let at = from; at < end && result >= 0; at += result) {
    result = calls.pwrite(fd, new Uint8Array(end - at), at);
  }
  if (appends) calls.setAppends(fd, true);
  return Math.min(result, 0);
}

/** As copy_file_range(2), which may copy less than was asked for. */
export function copyRange(
  calls: PosixCalls,
  from: number,
  fromOffset: number,
  to: number,
  toOffset: number,
  length: number,
): number {
  scratch ??= new Uint8Array(COPIED_AT_ONCE);
  const bytes = scratch.subarray(0, Math.min(length, COPIED_AT_ONCE));
  const read = calls.pread(from, bytes, fromOffset);
  return read <= 0 ? read : calls.pwrite(to, bytes.subarray(0, read), toOffset);
}
