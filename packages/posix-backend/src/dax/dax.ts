import {
  EINVAL,
  EISDIR,
  ENODEV,
  ENOSPC,
  EROFS,
  FUSE_SETUPMAPPING_FLAG_WRITE,
  O_RDONLY,
  O_RDWR,
  S_IFDIR,
  S_IFREG,
} from "@supermachine/fuse-protocol";
import { StatBuffer } from "../nodes/stat-buffer.js";
import * as sys from "../platform/host.js";
import type { Share } from "../share.js";

/**
 * Part of the client's address space into which files are mapped: the `FileWindow` of a hypervisor is
 * one. Its methods return 0 or a negated errno, and are called with multiples of `pageSize` within it.
 */
export interface DaxWindow {
  /** Bytes. */
  readonly length: number;
  /** Bytes. */
  readonly pageSize: number;
  /** Maps `length` bytes of `fd`, shared, in place of what is there. The fd may be closed after. */
  map(
    fd: number,
    fileOffset: number,
    length: number,
    windowOffset: number,
    writable: boolean,
  ): number;
  /** Maps zeroed memory of no file, in place of what is there. */
  mapZeros(windowOffset: number, length: number): number;
  unmap(windowOffset: number, length: number): number;
}

/** A file that is mapped; its fd is kept to look at its size, and to map more of it. */
interface MappedFile {
  readonly nodeid: number;
  readonly mappings: Set<Mapping>;
  fd: number;
  writable: boolean;
  /** Some of its mappings end in zeros. */
  shortened: boolean;
}

interface Mapping {
  readonly file: MappedFile;
  readonly windowOffset: number;
  readonly length: number;
  readonly fileOffset: number;
  readonly writable: boolean;
  /** Bytes that show the file; zeros follow them. */
  backed: number;
}

/** The unit in which Linux maps: so many mappings fit a window. */
const DAX_RANGE = 2 << 20;
const SETTLE_INTERVAL_MS = 250;
/** A file's last byte: `loff_t` ends there; numbers are exact up to there. */
const MAX_FILE_OFFSET = Number.MAX_SAFE_INTEGER;

/**
 * The files that a client has mapped into its DAX window.
 *
 * A page behind the end of its file cannot be accessed: a client that touches one, because the host has
 * truncated the file and the client does not know yet, would be stuck or ended, depending on its
 * hypervisor. So such pages become zeros: at once when the hypervisor reports the fault
 * ({@link DaxMappings.shorten}), else within a quarter of a second. When a file grows over its zeros, they
 * must be the file's again before the client hears of the new size ({@link DaxMappings.lengthen}), or within
 * the same time for one that does not ask.
 */
export class DaxMappings {
  readonly #share: Share;
  readonly #window: DaxWindow;
  readonly #files = new Map<number, MappedFile>();
  readonly #byWindowOffset = new Map<number, Mapping>();
  /** For each page of the window: 1 where something is mapped. */
  readonly #occupied: Uint8Array;
  readonly #stat = new StatBuffer();
  #timer: NodeJS.Timeout | undefined;

  constructor(share: Share, window: DaxWindow) {
    this.#share = share;
    this.#window = window;
    this.#occupied = new Uint8Array(window.length / window.pageSize);
  }

  /** How many ranges are mapped. */
  get size(): number {
    return this.#byWindowOffset.size;
  }

  /** FUSE_SETUPMAPPING. A range is mapped as a whole: what is there is replaced if it is the same range. */
  setup(
    nodeid: number,
    fileOffset: number,
    length: number,
    flags: number,
    windowOffset: number,
  ): number {
    if (!this.#isRange(windowOffset, length)) return -EINVAL;
    if (fileOffset % this.#window.pageSize !== 0 || fileOffset > MAX_FILE_OFFSET - length) {
      return -EINVAL;
    }
    const writable = (flags & FUSE_SETUPMAPPING_FLAG_WRITE) !== 0;
    const present = this.#byWindowOffset.get(windowOffset);
    const replaces = present?.length === length ? present : undefined;
    if (replaces === undefined) {
      if (this.#isOccupied(windowOffset, length)) return -EINVAL;
      if (this.size >= this.#window.length / DAX_RANGE) return -ENOSPC;
    } else if (
      replaces.file.nodeid === nodeid &&
      replaces.fileOffset === fileOffset &&
      replaces.writable === writable
    ) {
      return 0;
    }
    const file = this.#open(nodeid, writable);
    if (typeof file === "number") return file;
    const failure = this.#window.map(file.fd, fileOffset, length, windowOffset, writable);
    // Also when it failed: what was there may be gone all the same.
    if (replaces !== undefined) this.#forget(replaces);
    if (failure < 0) {
      this.#window.unmap(windowOffset, length);
    } else {
      const mapping = { file, windowOffset, length, fileOffset, writable, backed: length };
      file.mappings.add(mapping);
      this.#byWindowOffset.set(windowOffset, mapping);
      this.#markOccupied(mapping, 1);
      this.#timer ??= setInterval(() => this.#settle(), SETTLE_INTERVAL_MS).unref();
    }
    this.#closeUnused(file);
    if (replaces !== undefined) this.#closeUnused(replaces.file);
    return failure;
  }

  /** FUSE_REMOVEMAPPING of one range, as it was set up. */
  remove(windowOffset: number, length: number): number {
    const mapping = this.#byWindowOffset.get(windowOffset);
    if (mapping === undefined || mapping.length !== length) return -EINVAL;
    const failure = this.#window.unmap(windowOffset, length);
    if (failure < 0) return failure;
    this.#forget(mapping);
    this.#closeUnused(mapping.file);
    return 0;
  }

  /**
   * Zeros for the pages that lie behind the end of their file by now. Answers whether there were any: then
   * an access that could not be made can be tried again.
   */
  shorten(): boolean {
    let any = false;
    for (const file of this.#files.values()) {
      if (this.#stat.read(file.fd) < 0) continue;
      for (const mapping of file.mappings) any = this.#shorten(mapping, this.#stat.size) || any;
    }
    return any;
  }

  /** Call it before the client hears of a size of the file: shows it where it has grown over zeros. */
  lengthen(nodeid: number): void {
    const file = this.#files.get(nodeid);
    if (file?.shortened !== true || this.#stat.read(file.fd) < 0) return;
    file.shortened = false;
    for (const mapping of file.mappings) {
      const { fileOffset, length, windowOffset, writable, backed } = mapping;
      if (backed === length) continue;
      const grown = this.#stat.size > fileOffset + backed;
      // Behind the end as well, so that a file that grows further soon needs no other call.
      if (grown && this.#window.map(file.fd, fileOffset, length, windowOffset, writable) === 0) {
        mapping.backed = length;
      } else {
        file.shortened = true;
      }
    }
  }

  lengthenAll(): void {
    for (const nodeid of this.#files.keys()) this.lengthen(nodeid);
  }

  /** Unmaps everything. */
  clear(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const { windowOffset, length } of this.#byWindowOffset.values()) {
      this.#window.unmap(windowOffset, length);
    }
    for (const { fd } of this.#files.values()) sys.close(fd);
    this.#files.clear();
    this.#byWindowOffset.clear();
    this.#occupied.fill(0);
  }

  /** The file, open at least so; or a negated errno. */
  #open(nodeid: number, writable: boolean): MappedFile | number {
    const known = this.#files.get(nodeid);
    if (known !== undefined && (known.writable || !writable)) return known;
    const { inodes, settings, procFd } = this.#share;
    const handle = inodes.fd(nodeid);
    if (handle < 0) return handle;
    const type = inodes.type(nodeid);
    // As open(2) and mmap(2) say: only regular files are ever opened, not devices or FIFOs.
    if (type !== S_IFREG) return type === S_IFDIR ? -EISDIR : -ENODEV;
    if (writable && settings.readOnly) return -EROFS;
    const fd = sys.reopen(procFd, handle, writable ? O_RDWR : O_RDONLY);
    if (fd < 0) return fd;
    if (known !== undefined) {
      sys.close(known.fd);
      known.fd = fd;
      known.writable = writable;
      return known;
    }
    const file = { nodeid, mappings: new Set<Mapping>(), fd, writable, shortened: false };
    this.#files.set(nodeid, file);
    return file;
  }

  /** Brings every mapping in line with its file's size. */
  #settle(): void {
    this.lengthenAll();
    this.shorten();
  }

  #shorten(mapping: Mapping, fileSize: number): boolean {
    const { pageSize } = this.#window;
    const present = Math.ceil((fileSize - mapping.fileOffset) / pageSize) * pageSize;
    const backed = Math.max(0, Math.min(present, mapping.length));
    if (backed >= mapping.backed) return false;
    const failure = this.#window.mapZeros(mapping.windowOffset + backed, mapping.backed - backed);
    if (failure < 0) return false;
    mapping.backed = backed;
    mapping.file.shortened = true;
    return true;
  }

  /** Drops what is known of a mapping that is replaced or gone; its file stays. */
  #forget(mapping: Mapping): void {
    mapping.file.mappings.delete(mapping);
    this.#byWindowOffset.delete(mapping.windowOffset);
    this.#markOccupied(mapping, 0);
  }

  #closeUnused(file: MappedFile): void {
    if (file.mappings.size > 0 || this.#files.get(file.nodeid) !== file) return;
    this.#files.delete(file.nodeid);
    sys.close(file.fd);
  }

  #isRange(windowOffset: number, length: number): boolean {
    const { pageSize } = this.#window;
    return (
      length > 0 &&
      length % pageSize === 0 &&
      windowOffset % pageSize === 0 &&
      windowOffset + length <= this.#window.length
    );
  }

  #isOccupied(windowOffset: number, length: number): boolean {
    const { pageSize } = this.#window;
    const pages = this.#occupied.subarray(
      windowOffset / pageSize,
      (windowOffset + length) / pageSize,
    );
    return pages.includes(1);
  }

  #markOccupied({ windowOffset, length }: Mapping, value: 0 | 1): void {
    const { pageSize } = this.#window;
    this.#occupied.fill(value, windowOffset / pageSize, (windowOffset + length) / pageSize);
  }
}
