import { EBADF, O_ACCMODE, O_APPEND, O_RDONLY, O_RDWR } from "@supermachine/fuse-protocol";
import { handle, header, type NodeMemory } from "../nodes/node-memory.js";
import { generationOfNodeid, nodeidOf, slotOfNodeid } from "../nodes/slot-allocator.js";
import { close } from "../platform/host.js";
import { DirectoryReader } from "./directory-reader.js";
import { PositionRing, RING_WORDS } from "./position-ring.js";

/** Bits of the state word. */
const FILE = 1;
const DIRECTORY = 2;
const RELEASED = 4;

/** Handles are below 2^53 as nodeids are. After as many uses of one, the first number comes again. */
const HANDLE_GENERATIONS = 2 ** 29;
/** Readers of handles that another thread has released are looked for when there are so many. */
const MANY_READERS = 64;

/** What {@link HandleTable.forEach} tells of an open file or directory. */
export interface OpenHandle {
  readonly fh: number;
  readonly fd: number;
  readonly nodeid: number;
  readonly isDirectory: boolean;
  /** Of open(2), with which the host has it open. */
  readonly flags: number;
}

/**
 * Open files and directories, in memory that threads may share: a handle that one has opened another may be
 * asked to read. Numbers are made as nodeids are, of an index and a count of its uses: a stale one finds
 * nothing.
 */
export class HandleTable {
  readonly #memory: NodeMemory;
  readonly #readers = new Map<number, DirectoryReader>();

  constructor(memory: NodeMemory) {
    this.#memory = memory;
  }

  get size(): number {
    return this.#memory.read(header.openHandles);
  }

  get full(): boolean {
    return this.size >= this.#memory.handles;
  }

  /** Takes over `fd`, which was opened with `flags`; check {@link full} before opening it. */
  addFile(fd: number, nodeid: number, flags: number): number {
    return this.#add(FILE, fd, nodeid, flags);
  }

  /** Takes over `fd`; check {@link full} before opening it. */
  addDirectory(fd: number, nodeid: number): number {
    return this.#add(DIRECTORY, fd, nodeid, O_RDONLY);
  }

  /** As {@link addFile} and {@link addDirectory}, under a certain number; false when that is not free. */
  restore({ fh, fd, nodeid, isDirectory, flags }: OpenHandle): boolean {
    const memory = this.#memory;
    const index = slotOfNodeid(fh);
    if (index === 0 || index > memory.handles) return false;
    let used = memory.read(header.usedHandles);
    if (index > used) {
      // Those passed over are free.
      for (used++; used < index; used++) this.#free(used);
      memory.write(header.usedHandles, index);
    } else if (!this.#unlinkFree(index)) return false;
    memory.write(memory.handleAt(index) + handle.generation, generationOfNodeid(fh));
    this.#fill(index, isDirectory ? DIRECTORY : FILE, fd, nodeid, flags);
    return true;
  }

  /** The fd of an open file, or `-EBADF`. */
  fd(fh: number): number {
    const at = this.#find(fh);
    return at !== 0 && this.#memory.read(at + handle.state) === FILE
      ? this.#memory.read(at + handle.fd)
      : -EBADF;
  }

  /** The fd of a file that is open for writing, or `-EBADF`. */
  writableFd(fh: number): number {
    const at = this.#find(fh);
    if (at === 0 || this.#memory.read(at + handle.state) !== FILE) return -EBADF;
    const isWritable = (this.#memory.read(at + handle.flags) & O_ACCMODE) !== O_RDONLY;
    return isWritable ? this.#memory.read(at + handle.fd) : -EBADF;
  }

  /** Whether the client has a file open for writing. It looks at every handle: for rare questions. */
  isWritten(nodeid: number): boolean {
    let written = false;
    this.forEach((open) => {
      if (open.nodeid === nodeid && (open.flags & O_ACCMODE) !== O_RDONLY) written = true;
    });
    return written;
  }

  /** The fd of some open file or directory of a node, or `-EBADF`. It looks at every handle. */
  fdOf(nodeid: number): number {
    let fd = -EBADF;
    this.forEach((open) => {
      if (open.nodeid === nodeid) fd = open.fd;
    });
    return fd;
  }

  /** The fd of some open file of a node that may be written, or not, and appended to as `flags` say; or `-EBADF`. */
  fdLike(nodeid: number, flags: number): number {
    let fd = -EBADF;
    this.forEach((open) => {
      const access = open.flags & O_ACCMODE;
      const isLike = access === O_RDWR || access === (flags & O_ACCMODE);
      const appends = (open.flags & O_APPEND) === (flags & O_APPEND);
      if (open.nodeid === nodeid && !open.isDirectory && isLike && appends) fd = open.fd;
    });
    return fd;
  }

  /** The listing of an open directory, as far as this thread is concerned. */
  reader(fh: number): DirectoryReader | undefined {
    const at = this.#find(fh);
    if (at === 0 || this.#memory.read(at + handle.state) !== DIRECTORY) return undefined;
    let reader = this.#readers.get(fh);
    if (reader === undefined) {
      if (this.#readers.size >= MANY_READERS + 2 * this.size) this.#dropStaleReaders();
      const isShared = this.#memory.threads > 1;
      const makeRing = isShared ? () => this.#sharedRing(at) : undefined;
      reader = new DirectoryReader(this.#memory.read(at + handle.fd), isShared, makeRing);
      this.#readers.set(fh, reader);
    }
    return reader;
  }

  /**
   * Keeps the fd of an open file or directory from being closed until {@link unpin}, whatever the client
   * says: for operations that go on after the call that began them. Returns the fd, or `-EBADF`.
   */
  pin(fh: number): number {
    const memory = this.#memory;
    const at = this.#find(fh);
    if (at === 0 || (memory.read(at + handle.state) & RELEASED) !== 0) return -EBADF;
    memory.lock();
    memory.add(at + handle.pins, 1);
    memory.unlock();
    return memory.read(at + handle.fd);
  }

  unpin(fh: number): void {
    const memory = this.#memory;
    const at = this.#find(fh);
    if (at === 0) return;
    memory.lock();
    memory.add(at + handle.pins, -1);
    memory.unlock();
    if ((memory.read(at + handle.state) & RELEASED) !== 0) this.release(fh);
  }

  release(fh: number): void {
    const memory = this.#memory;
    const at = this.#find(fh);
    if (at === 0) return;
    memory.lock();
    const fd = memory.read(at + handle.fd);
    const isPinned = memory.read(at + handle.pins) > 0;
    memory.write(at + handle.state, memory.read(at + handle.state) | RELEASED);
    if (!isPinned) {
      const next = memory.read(at + handle.generation) + 1;
      memory.write(at + handle.generation, next % HANDLE_GENERATIONS);
      memory.add(header.openHandles, -1);
      const ring = memory.read(at + handle.ring);
      if (ring !== 0) {
        memory.write(header.ringsInUse, memory.read(header.ringsInUse) & ~(1 << (ring - 1)));
        memory.write(at + handle.ring, 0);
      }
      this.#free(slotOfNodeid(fh));
    }
    memory.unlock();
    this.#readers.delete(fh);
    if (!isPinned) close(fd);
  }

  /** Releases every handle; the fds of those that are pinned are closed when they no longer are. */
  close(): void {
    this.forEach((open) => {
      this.release(open.fh);
    });
    this.#readers.clear();
  }

  forEach(visit: (open: OpenHandle) => void): void {
    const memory = this.#memory;
    for (let index = 1; index <= memory.read(header.usedHandles); index++) {
      const at = memory.handleAt(index);
      const state = memory.read(at + handle.state);
      if (state === 0 || (state & RELEASED) !== 0) continue;
      visit({
        fh: nodeidOf(index, memory.read(at + handle.generation)),
        fd: memory.read(at + handle.fd),
        nodeid: nodeidOf(memory.read(at + handle.nodeidLow), memory.read(at + handle.nodeidHigh)),
        isDirectory: state === DIRECTORY,
        flags: memory.read(at + handle.flags),
      });
    }
  }

  /** Where the record of a handle is, released or not; 0 for one that there is not. */
  #find(fh: number): number {
    const memory = this.#memory;
    const index = slotOfNodeid(fh);
    if (index === 0 || index > memory.handles) return 0;
    const at = memory.handleAt(index);
    const isOpen = memory.read(at + handle.state) !== 0;
    return isOpen && memory.read(at + handle.generation) === generationOfNodeid(fh) ? at : 0;
  }

  #add(kind: number, fd: number, nodeid: number, flags: number): number {
    const memory = this.#memory;
    memory.lock();
    let index = memory.read(header.freeHandle);
    if (index !== 0) {
      memory.write(header.freeHandle, memory.read(memory.handleAt(index) + handle.flags));
    } else {
      memory.add(header.usedHandles, 1);
      index = memory.read(header.usedHandles);
    }
    this.#fill(index, kind, fd, nodeid, flags);
    memory.unlock();
    return nodeidOf(index, memory.read(memory.handleAt(index) + handle.generation));
  }

  #fill(index: number, kind: number, fd: number, nodeid: number, flags: number): void {
    const memory = this.#memory;
    const at = memory.handleAt(index);
    memory.write(at + handle.fd, fd);
    memory.write(at + handle.flags, flags);
    memory.write(at + handle.nodeidLow, slotOfNodeid(nodeid));
    memory.write(at + handle.nodeidHigh, generationOfNodeid(nodeid));
    memory.write(at + handle.pins, 0);
    memory.write(at + handle.state, kind);
    memory.add(header.openHandles, 1);
  }

  #free(index: number): void {
    const memory = this.#memory;
    const at = memory.handleAt(index);
    memory.write(at + handle.state, 0);
    memory.write(at + handle.flags, memory.read(header.freeHandle));
    memory.write(header.freeHandle, index);
  }

  /** Takes a free index out of the chain of them; false when it is not in there. */
  #unlinkFree(index: number): boolean {
    const memory = this.#memory;
    let at: number = header.freeHandle;
    for (let free = memory.read(at); free !== 0; free = memory.read(at)) {
      const nextAt = memory.handleAt(free) + handle.flags;
      if (free === index) {
        memory.write(at, memory.read(nextAt));
        return true;
      }
      at = nextAt;
    }
    return false;
  }

  /** Where the threads remember positions of the directory at `at`; undefined when all rings are in use. */
  #sharedRing(at: number): PositionRing | undefined {
    const memory = this.#memory;
    memory.lock();
    let number = memory.read(at + handle.ring);
    if (number === 0) {
      const free = ~memory.read(header.ringsInUse);
      if (free !== 0) {
        number = 32 - Math.clz32(free & -free);
        memory.write(header.ringsInUse, memory.read(header.ringsInUse) | (1 << (number - 1)));
        memory.write(at + handle.ring, number);
        memory.write(memory.ringAt(number), 0);
      }
    }
    memory.unlock();
    if (number === 0) return undefined;
    const first = memory.ringAt(number);
    return new PositionRing(memory.words.subarray(first, first + RING_WORDS));
  }

  #dropStaleReaders(): void {
    for (const fh of this.#readers.keys()) if (this.#find(fh) === 0) this.#readers.delete(fh);
  }
}
