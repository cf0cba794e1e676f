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

function writeDirent(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  end: number,
  name: string,
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
  const nameAt = at + fuse_dirent.size;
  writeName(name, bytes, nameAt);
  bytes.fill(0, nameAt + nameBytes, end);
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
    const nameBytes = nameLength(name);
    const next = this.#at + alignRecord(fuse_dirent.size + nameBytes);
    if (next > this.#end) return false;
    writeDirent(this.#bytes, this.#view, this.#at, next, name, nameBytes, ino, type, offset);
    this.#at = next;
    return true;
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
    const nameBytes = nameLength(name);
    const next = this.#at + alignRecord(fuse_direntplus.size + nameBytes);
    if (next > this.#end) return false;
    writeEntry(this.#view, this.#at, this.entry);
    const { ino, mode } = this.entry.attr;
    const dirent = this.#at + fuse_direntplus.offsets.dirent;
    const type = (mode >> 12) & 15;
    writeDirent(this.#bytes, this.#view, dirent, next, name, nameBytes, ino, type, offset);
    this.#at = next;
    if (this.entry.nodeid !== 0) this.delivered.push(this.entry.nodeid);
    this.#clearEntry();
    return true;
  }

  #clearEntry(): void {
    this.entry.nodeid = 0;
    this.entry.generation = 0;
    this.entry.entryValidMs = this.#entryValidMs;
    this.entry.attrValidMs = this.#attrValidMs;
    this.entry.attr.clear();
  }
}
