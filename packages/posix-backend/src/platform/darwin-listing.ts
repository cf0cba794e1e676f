import { defineStruct } from "@supermachine-internal/struct";
import { direntStruct } from "../syscalls/structs.js";

/** `struct dirent` of sys/dirent.h up to its name, which is not the end of the record. */
export const darwinDirentStruct = defineStruct("dirent", 21, {
  d_ino: "u64",
  d_seekoff: "u64",
  d_reclen: "u16",
  d_namlen: "u16",
  d_type: "u8",
});

/** One name of a directory. */
export interface DarwinDirent {
  readonly ino: bigint;
  /** `DT_...`, the same numbers as in Linux. */
  readonly type: number;
  /** Without a terminator. */
  readonly name: Uint8Array;
}

/** Reads the records of getdirentries64(2); undefined when they are not whole. */
export function parseDarwinDirents(bytes: Uint8Array): DarwinDirent[] | undefined {
  const entries: DarwinDirent[] = [];
  const at = darwinDirentStruct.offsets;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let start = 0; start < bytes.length; ) {
    const nameAt = start + darwinDirentStruct.size;
    if (nameAt > bytes.length) return undefined;
    const end = start + view.getUint16(start + at.d_reclen, true);
    const nameEnd = nameAt + view.getUint16(start + at.d_namlen, true);
    if (nameEnd > end || end > bytes.length || end === start) return undefined;
    const ino = view.getBigUint64(start + at.d_ino, true);
    // 0 marks a record whose name was removed.
    if (ino !== 0n) {
      entries.push({
        ino,
        type: bytes[start + at.d_type] ?? 0,
        name: Uint8Array.from(bytes.subarray(nameAt, nameEnd)),
      });
    }
    start = end;
  }
  return entries;
}

const linuxAt = direntStruct.offsets;

/**
 * What a directory lists, as getdents64(2) of Linux gives it. Positions of macOS file systems do not outlast a
 * change of the directory, so a listing is taken whole, and a position is the index of an entry.
 */
export class DarwinListing {
  readonly #entries: DarwinDirent[] = [];
  #next = 0;

  /** Adds what getdirentries64(2) gave. */
  append(bytes: Uint8Array): void {
    for (const entry of parseDarwinDirents(bytes) ?? []) this.#entries.push(entry);
  }

  seek(position: number): void {
    this.#next = position;
  }

  /** Writes as many `struct linux_dirent64` as fit; how many bytes they take. */
  read(out: Uint8Array): number {
    const view = new DataView(out.buffer, out.byteOffset, out.length);
    let start = 0;
    for (;;) {
      const entry = this.#entries[this.#next];
      if (entry === undefined) return start;
      // Ended with a NUL, and filled up so that the next record is aligned.
      const length = (direntStruct.size + entry.name.length + 1 + 7) & ~7;
      if (start + length > out.length) return start;
      this.#next++;
      view.setBigUint64(start + linuxAt.d_ino, entry.ino, true);
      view.setBigInt64(start + linuxAt.d_off, BigInt(this.#next), true);
      view.setUint16(start + linuxAt.d_reclen, length, true);
      view.setUint8(start + linuxAt.d_type, entry.type);
      out.fill(0, start + direntStruct.size, start + length);
      out.set(entry.name, start + direntStruct.size);
      start += length;
    }
  }
}
