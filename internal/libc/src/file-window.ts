import { lastErrno, SystemCallError } from "./errno.js";
import { addressOf } from "./memory.js";
import { lazyFunction } from "./native.js";

const mmap = lazyFunction<
  (
    address: bigint | null,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ) => bigint | number
>("void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)");
const munmap = lazyFunction<(address: bigint, length: number) => number>(
  "int munmap(void *addr, size_t length)",
);

type Copy = (
  pid: number,
  local: Uint8Array,
  localCount: number,
  remote: Uint8Array,
  remoteCount: number,
  flags: number,
) => number;
const processVmReadv = lazyFunction<Copy>(
  "intptr_t process_vm_readv(int pid, const void *local_iov, unsigned long liovcnt, const void *remote_iov, unsigned long riovcnt, unsigned long flags)",
);
const processVmWritev = lazyFunction<Copy>(
  "intptr_t process_vm_writev(int pid, const void *local_iov, unsigned long liovcnt, const void *remote_iov, unsigned long riovcnt, unsigned long flags)",
);

const PROT_NONE = 0;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 0x01;
const MAP_FIXED = 0x10;
/** MAP_PRIVATE, MAP_ANONYMOUS and MAP_NORESERVE of Linux. */
const NO_FILE = 0x4022;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

const ALIGNMENT = 2 << 20;

/** `struct iovec` */
function iovec(address: bigint, length: number): Uint8Array {
  return new Uint8Array(new BigUint64Array([address, BigInt(length)]).buffer);
}

/**
 * A reserved range of addresses into which files are mapped and unmapped (Linux). What is not mapped
 * cannot be accessed. See `FileWindow` of `@supermachine/hypervisor`, which this is.
 */
export class FileWindow implements Disposable {
  /** A multiple of 2 MiB, so that 2 MiB of a file can be one page. */
  readonly hostAddress: bigint;
  /** Bytes. */
  readonly length: number;
  readonly pageSize = 4096;
  /** The reservation, from which the window is cut at a multiple of its alignment. */
  readonly #reserved: bigint;
  #open = true;

  /** @throws {@link SystemCallError} when there is no room for `length` bytes. */
  constructor(length: number) {
    this.#reserved = BigInt(mmap(null, length + ALIGNMENT, PROT_NONE, NO_FILE, -1, 0));
    if (this.#reserved === MAP_FAILED) {
      throw new SystemCallError("mmap", lastErrno(), `a window of ${length} bytes`);
    }
    this.hostAddress = (this.#reserved + BigInt(ALIGNMENT - 1)) & -BigInt(ALIGNMENT);
    this.length = length;
  }

  map(
    fd: number,
    fileOffset: number,
    length: number,
    windowOffset: number,
    writable: boolean,
  ): number {
    const protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    return this.#place(windowOffset, length, protection, MAP_SHARED, fd, fileOffset);
  }

  mapZeros(windowOffset: number, length: number): number {
    return this.#place(windowOffset, length, PROT_READ | PROT_WRITE, NO_FILE, -1, 0);
  }

  unmap(windowOffset: number, length: number): number {
    // Not munmap(2): another mapping of the process could take the place.
    return this.#place(windowOffset, length, PROT_NONE, NO_FILE, -1, 0);
  }

  read(windowOffset: number, target: Uint8Array): boolean {
    return this.#copy(processVmReadv, windowOffset, target);
  }

  write(windowOffset: number, source: Uint8Array): boolean {
    return this.#copy(processVmWritev, windowOffset, source);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    munmap(this.#reserved, this.length + ALIGNMENT);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** In a system call, where a page that cannot be accessed is an error and not a signal. */
  #copy(copy: Copy, windowOffset: number, bytes: Uint8Array): boolean {
    const { length } = bytes;
    const inside = windowOffset >= 0 && windowOffset + length <= this.length;
    if (!this.#open || !inside) return false;
    if (length === 0) return true;
    const ours = iovec(addressOf(bytes), length);
    const theirs = iovec(this.hostAddress + BigInt(windowOffset), length);
    return copy(process.pid, ours, 1, theirs, 1, 0) === length;
  }

  #place(
    windowOffset: number,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    fileOffset: number,
  ): number {
    // MAP_FIXED replaces whatever is there: outside the window, memory of this process.
    const inside = windowOffset >= 0 && length > 0 && windowOffset + length <= this.length;
    if (!this.#open || !inside) {
      throw new RangeError(
        `no bytes ${windowOffset} to ${windowOffset + length} in an open window`,
      );
    }
    const address = this.hostAddress + BigInt(windowOffset);
    const placed = mmap(address, length, protection, flags | MAP_FIXED, fd, fileOffset);
    return BigInt(placed) === MAP_FAILED ? -lastErrno() : 0;
  }
}
