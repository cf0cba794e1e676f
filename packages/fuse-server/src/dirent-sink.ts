import {
  alignRecord,
  fuse_dirent,
  fuse_direntplus,
  nameLength,
  writeName,
} from "@supermachine/fuse-protocol";
import { writeEntry, writeInteger64 } from "./encode.js";
import { EntryReply } from "./reply.js";
import type { DirectoryPlusSink, DirectorySink } from "./request.js";

/** Writes all of a `struct fuse_dirent` but its name. */
function writeDirent(
  view: DataView,
  at: number,
  nameBytes: number,
  ino: number,
  type: number,
  offset: number,
): void {
  const o = fuse_dirent.offsets;
  writeInteger64(view, at + o.ino, ino);
  writeInteger64(view, at + o.off, offset);
  view.setUint32(at + o.namelen, nameBytes, true);
  view.setUint32(at + o.type, type, true);
}

/** Where the name of the record begins. Zeros are already between the name and the end of its record. */
function startName(view: DataView, dirent: number, end: number): number {
  // The last eight bytes hold all the padding; the name is written over the rest.
  view.setFloat64(end - 8, 0);
  return dirent + fuse_dirent.size;
}

/** Names are too short for a call of `set` or `copy` to pay. */
function copyName(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): void {
  for (let i = start; i < end; i++) to[at++] = from[i] as number;
}

/** Writes `struct fuse_dirent` records, each aligned to 8 bytes, into a reply. */
export class DirentSink implements DirectorySink {
  #bytes: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;
  #start = 0;
  #end = 0;

  /** Starts a listing in `bytes[start, end)`, of which `view` is a view from 0. */
  begin(bytes: Uint8Array, view: DataView, start: number, end: number): void {
    this.#bytes = bytes;
    this.#view = view;
    this.#at = start;
    this.#start = start;
    this.#end = end;
  }

  /** Bytes written. */
  get length(): number {
    return this.#at - this.#start;
  }

  add(name: string, ino: number, type: number, offset: number): boolean {
    const nameAt = this.#begin(nameLength(name), ino, type, offset);
    if (nameAt > 0) writeName(name, this.#bytes, nameAt);
    return nameAt > 0;
  }

  addBytes(
    bytes: Uint8Array,
    start: number,
    end: number,
    ino: number,
    type: number,
    offset: number,
  ): boolean {
    const nameAt = this.#begin(end - start, ino, type, offset);
    if (nameAt > 0) copyName(bytes, start, end, this.#bytes, nameAt);
    return nameAt > 0;
  }

  /** Writes a record without its name; where that goes, or 0 when there is no room. */
  #begin(nameBytes: number, ino: number, type: number, offset: number): number {
    const dirent = this.#at;
    const next = dirent + alignRecord(fuse_dirent.size + nameBytes);
    if (next > this.#end) return 0;
    const nameAt = startName(this.#view, dirent, next);
    writeDirent(this.#view, dirent, nameBytes, ino, type, offset);
    this.#at = next;
    return nameAt;
  }
}

/** Writes `struct fuse_direntplus` records. */
export class DirentPlusSink implements DirectoryPlusSink {
  readonly entry = new EntryReply();
  /** The nodes whose lookup count the listing has raised. */
  readonly delivered: number[] = [];
  #bytes: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;
  #start = 0;
  #end = 0;
  #entryValidMs = 0;
  #attrValidMs = 0;

  begin(
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    entryValidMs: number,
    attrValidMs: number,
  ): void {
    this.#bytes = bytes;
    this.#view = view;
    this.#at = start;
    this.#start = start;
    this.#end = end;
    this.#entryValidMs = entryValidMs;
    this.#attrValidMs = attrValidMs;
    this.delivered.length = 0;
    this.#clearEntry();
  }

  get length(): number {
    return this.#at - this.#start;
  }

  add(name: string, offset: number): boolean {
    const nameAt = this.#begin(nameLength(name), offset);
    if (nameAt > 0) writeName(name, this.#bytes, nameAt);
    return nameAt > 0;
  }

  addBytes(bytes: Uint8Array, start: number, end: number, offset: number): boolean {
    const nameAt = this.#begin(end - start, offset);
    if (nameAt > 0) copyName(bytes, start, end, this.#bytes, nameAt);
    return nameAt > 0;
  }

  /** Writes a record without its name; where that goes, or 0 when there is no room. */
  #begin(nameBytes: number, offset: number): number {
    const next = this.#at + alignRecord(fuse_direntplus.size + nameBytes);
    if (next > this.#end) return 0;
    const dirent = this.#at + fuse_direntplus.offsets.dirent;
    const nameAt = startName(this.#view, dirent, next);
    writeEntry(this.#view, this.#at, this.entry);
    const { ino, mode } = this.entry.attr;
    writeDirent(this.#view, dirent, nameBytes, ino, (mode >> 12) & 15, offset);
    this.#at = next;
    if (this.entry.nodeid !== 0) this.delivered.push(this.entry.nodeid);
    this.#clearEntry();
    return nameAt;
  }

  #clearEntry(): void {
    this.entry.nodeid = 0;
    this.entry.generation = 0;
    this.entry.entryValidMs = this.#entryValidMs;
    this.entry.attrValidMs = this.#attrValidMs;
    this.entry.attr.clear();
  }
}
