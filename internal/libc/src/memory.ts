import koffi from "koffi";
import { check, lastErrno, SystemCallError } from "./errno.js";
import { lazyFunction, type Pointer } from "./native.js";

const mmapNative = lazyFunction<
  (
    address: bigint | null,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ) => bigint
>("void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)");
const munmapNative = lazyFunction<(address: bigint, length: number) => number>(
  "int munmap(void *addr, size_t length)",
);
const madviseNative = lazyFunction<(address: number, length: number, advice: number) => number>(
  "int madvise(intptr_t addr, size_t length, int advice)",
);
const memfdCreateNative = lazyFunction<(name: string, flags: number) => number>(
  "int memfd_create(const char *name, unsigned int flags)",
);

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = process.platform === "darwin" ? 0x1000 : 0x20;
const MAP_NORESERVE = process.platform === "darwin" ? 0x40 : 0x4000;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
const MFD_CLOEXEC = 1;
const MADV_DONTNEED = 4;
const PAGE_SIZE = process.platform === "darwin" && process.arch === "arm64" ? 16_384 : 4096;

/** Node.js 20 aborts the process on a longer external ArrayBuffer. */
export const MAX_VIEW_LENGTH = 0xffff_f000;

/**
 * An ArrayBuffer over `length` bytes of native memory. Nothing keeps the memory alive: the owner of
 * the mapping must outlive every view. Creating one costs about 1 us, so keep it.
 */
export function viewAt(address: bigint, length: number): ArrayBuffer {
  if (length > MAX_VIEW_LENGTH) {
    throw new RangeError(`a view of ${length} bytes exceeds ${MAX_VIEW_LENGTH}`);
  }
  return koffi.view(address, length) as ArrayBuffer;
}

/** The native address of memory that JavaScript owns or views. */
export function addressOf(memory: Exclude<Pointer, bigint | null>): bigint {
  return BigInt(koffi.address(memory));
}

export interface MapOptions {
  /** Writes reach the file and other mappers (`MAP_SHARED`); otherwise copy-on-write. */
  readonly shared?: boolean;
  readonly readOnly?: boolean;
}

/** A mapping made with mmap(2), unmapped by `close()`. */
export class Mapping implements Disposable {
  readonly address: bigint;
  /** Bytes. */
  readonly length: number;
  readonly #base: number;
  #open = true;

  private constructor(address: bigint, length: number) {
    this.address = address;
    this.#base = Number(address);
    this.length = length;
  }

  /** Zeroed memory without swap reservation: pages cost nothing until touched. */
  static anonymous(length: number, options: { readonly shared?: boolean } = {}): Mapping {
    const sharing = options.shared ? MAP_SHARED : MAP_PRIVATE;
    return Mapping.#map(length, true, sharing | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }

  /** `length` bytes of `fd` from `offset`, a multiple of the page size. */
  static file(fd: number, length: number, offset: number, options: MapOptions = {}): Mapping {
    const flags = (options.shared ? MAP_SHARED : MAP_PRIVATE) | MAP_NORESERVE;
    return Mapping.#map(length, options.readOnly !== true, flags, fd, offset);
  }

  /** Shows `length` bytes of `fd` at `offset` of this mapping, copy-on-write, in place of what is there. */
  place(fd: number, fileOffset: number, offset: number, length: number): void {
    // MAP_FIXED replaces whatever is there: outside the mapping, other memory of this process.
    if (!this.#open || offset < 0 || length <= 0 || offset + length > this.length) {
      throw new RangeError(`no bytes ${offset} to ${offset + length} in an open mapping`);
    }
    const flags = MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED;
    const address = this.address + BigInt(offset);
    const protection = PROT_READ | PROT_WRITE;
    const placed = mmapNative(address, length, protection, flags, fd, fileOffset);
    if (BigInt(placed) === MAP_FAILED) {
      throw new SystemCallError("mmap", lastErrno(), `${length} bytes of a file`);
    }
  }

  static #map(length: number, writable: boolean, flags: number, fd: number, offset: number) {
    const protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    const address = BigInt(mmapNative(null, length, protection, flags, fd, offset));
    if (address === MAP_FAILED) throw new SystemCallError("mmap", lastErrno(), `${length} bytes`);
    return new Mapping(address, length);
  }

  /** A view of the whole mapping; it dangles after `close()`. */
  view(): ArrayBuffer {
    return viewAt(this.address, this.length);
  }

  /**
   * Gives the whole pages of a range back to the system. Private memory then reads as it did when it was
   * mapped: zeros, or what the file has. Addresses of user space are exact as numbers.
   */
  discard(offset: number, length: number): void {
    const start = Math.ceil(offset / PAGE_SIZE) * PAGE_SIZE;
    const end = Math.floor(Math.min(offset + length, this.length) / PAGE_SIZE) * PAGE_SIZE;
    if (!this.#open || start < 0 || end <= start) return;
    check(madviseNative(this.#base + start, end - start, MADV_DONTNEED), "madvise");
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    check(munmapNative(this.address, this.length), "munmap");
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** An anonymous file in memory (Linux); the caller owns the returned fd. `name` shows in /proc. */
export function createMemoryFile(name: string): number {
  return check(memfdCreateNative(name, MFD_CLOEXEC), "memfd_create", name);
}
