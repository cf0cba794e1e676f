import { fstatSync, ftruncateSync, readSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";
import type { HostMemory } from "@supermachine/hypervisor";
import { VmmError } from "../errors.js";
import type { Extent } from "./extents.js";
import type { MemoryLayer } from "./machine-state.js";
import { openPageMap } from "./page-map.js";

/*
 * A memory file is as long as the machine's memory and a page more, and sparse: an extent lies at its offset
 * in memory. The last page repeats the layer's id, so that no document takes up another's file.
 */

const PAGE = 4096;
/** What is compared and written as one: small enough to leave out much, large enough to be quick. */
const CHUNK = 64 << 10;
/** Chunks between two extents that are written all the same, because two extents cost more. */
const SHORTEST_GAP = 2;
/** Keeps the extents of a layer below `MAX_EXTENTS`, however large the memory. */
const GAPS_AT_MOST = 2048;
/** Bytes written, or read to be checked, at once. */
const PIECE = 4 << 20;

const ZEROS = Buffer.alloc(CHUNK);
const ID_BYTES = 16;

/** The bytes of a file of a memory of `size` bytes. */
export function memoryFileLength(size: number): number {
  return size + PAGE;
}

/** What the memory to be written is compared with: what is as it was is left out. */
export interface MemoryBase {
  /** The same ranges as those of the machine; `undefined`: zeros. */
  readonly memory: readonly HostMemory[] | undefined;
  /** The machine maps this very base: what it has not copied is as it was. */
  readonly isMapped: boolean;
  /** What the machine maps if anything: may differ from zeros although nobody has touched it. */
  readonly mapped: readonly Extent[];
}

/** Marks the chunks of memory that may differ from the base, by what the host knows of its pages. */
function findCandidates(ram: readonly HostMemory[], size: number, base: MemoryBase): Uint8Array {
  const marks = new Uint8Array(Math.ceil(size / CHUNK));
  using pages = openPageMap();
  const onlyCopied = base.isMapped;
  // Against another base, what nobody has touched differs as well.
  if (pages === undefined || (base.memory !== undefined && !base.isMapped)) return marks.fill(1);
  let start = 0;
  for (const { address, length } of ram) {
    const from = start;
    pages.forEachPage(address, length, (offset, isCopied) => {
      if (isCopied || !onlyCopied) marks[Math.floor((from + offset) / CHUNK)] = 1;
    });
    start += length;
  }
  if (onlyCopied) return marks;
  for (const { offset, length } of base.mapped) {
    marks.fill(1, Math.floor(offset / CHUNK), Math.ceil((offset + length) / CHUNK));
  }
  return marks;
}

/** Clears the marks of the chunks that are what they were. */
function keepDifferent(ram: readonly HostMemory[], marks: Uint8Array, base: MemoryBase): void {
  let start = 0;
  for (const [n, { length, view }] of withViews(ram).entries()) {
    const before = base.memory?.[n];
    const other = before && Buffer.from(before.view());
    for (let at = 0; at < length; at += CHUNK) {
      const mark = (start + at) / CHUNK;
      if (marks[mark] === 0) continue;
      const end = Math.min(at + CHUNK, length);
      const reference = other?.subarray(at, end) ?? ZEROS.subarray(0, end - at);
      if (view.subarray(at, end).equals(reference)) marks[mark] = 0;
    }
    start += length;
  }
}

function withViews(ram: readonly HostMemory[]): { length: number; view: Buffer }[] {
  return ram.map((memory) => ({ length: memory.length, view: Buffer.from(memory.view()) }));
}

/** Runs of marked chunks, `gap` unmarked ones included: first and last chunk, exclusive. */
function* runs(marks: Uint8Array, first: number, last: number, gap: number) {
  for (let at = marks.indexOf(1, first); at !== -1 && at < last; at = marks.indexOf(1, at)) {
    const start = at;
    let end = at + 1;
    for (at = end; at < last && at - end <= gap; at++) if (marks[at] === 1) end = at + 1;
    yield { start, end };
  }
}

/**
 * Writes what of `ram` differs from `base` into the empty file `fd`, and answers where it is. Blocks: the
 * machine is paused, and nothing else may touch its memory.
 */
export function writeMemoryFile(
  fd: number,
  id: string,
  ram: readonly HostMemory[],
  base: MemoryBase,
): Extent[] {
  const size = ram.reduce((total, { length }) => total + length, 0);
  ftruncateSync(fd, memoryFileLength(size));
  writeWhole(fd, Buffer.from(id, "hex"), size);
  const marks = findCandidates(ram, size, base);
  keepDifferent(ram, marks, base);
  const gap = Math.max(SHORTEST_GAP, Math.ceil(marks.length / GAPS_AT_MOST));
  const extents: Extent[] = [];
  let start = 0;
  for (const { length, view } of withViews(ram)) {
    const [first, last] = [start / CHUNK, (start + length) / CHUNK];
    for (const run of runs(marks, first, last, gap)) {
      const offset = run.start * CHUNK;
      const bytes = view.subarray(offset - start, run.end * CHUNK - start);
      let checksum = 0;
      for (let at = 0; at < bytes.length; at += PIECE) {
        const piece = bytes.subarray(at, at + PIECE);
        checksum = crc32(piece, checksum);
        writeWhole(fd, piece, offset + at);
      }
      extents.push({ offset, length: bytes.length, crc32: checksum });
    }
    start += length;
  }
  return extents;
}

function writeWhole(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(fd, bytes, done, bytes.length - done, position + done);
  }
}

function damaged(path: string, detail: string): VmmError {
  return new VmmError(
    "ERR_VMM_SNAPSHOT_CORRUPT",
    `the snapshot's memory ${path} is damaged: ${detail}; make the snapshot anew`,
  );
}

/** Whether the file behind `fd` is that of `layer`: quick, and blind to what its extents hold. */
export function checkMemoryFile(fd: number, path: string, layer: MemoryLayer, size: number): void {
  const stats = fstatSync(fd);
  if (!stats.isFile()) throw damaged(path, "it is no file");
  if (stats.size !== memoryFileLength(size)) {
    throw damaged(path, `it has ${stats.size} of ${memoryFileLength(size)} bytes`);
  }
  const id = Buffer.alloc(ID_BYTES);
  readSync(fd, id, 0, ID_BYTES, size);
  if (id.toString("hex") !== layer.id) throw damaged(path, "it belongs to another snapshot");
}

/** Reads all extents of `layer` and compares their checksums: 6 GB/s at best, from the page cache. */
export function verifyMemoryFile(fd: number, path: string, layer: MemoryLayer): void {
  const piece = Buffer.alloc(PIECE);
  for (const { offset, length, crc32: expected } of layer.extents) {
    let checksum = 0;
    for (let at = 0; at < length; ) {
      const count = readSync(fd, piece, 0, Math.min(PIECE, length - at), offset + at);
      if (count === 0) throw damaged(path, "it was cut short");
      checksum = crc32(piece.subarray(0, count), checksum);
      at += count;
    }
    if (checksum !== expected) {
      throw damaged(path, `${length} bytes at 0x${offset.toString(16)} are not what was saved`);
    }
  }
}
