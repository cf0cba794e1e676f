import { EBADF, O_ACCMODE, O_RDONLY } from "@supermachine/fuse-protocol";
import { DirectoryReader } from "./directory-reader.js";
import { close } from "./syscalls/linux.js";

interface Handle {
  readonly fd: number;
  readonly nodeid: number;
  readonly writable: boolean;
  /** Of a directory. */
  readonly reader: DirectoryReader | undefined;
  /** Operations that go on after the call that began them. */
  pins: number;
  released: boolean;
}

/** Open files and directories. Numbers are counted up and never used twice: a stale one finds nothing. */
export class HandleTable {
  readonly #capacity: number;
  readonly #handles = new Map<number, Handle>();
  #next = 1;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#handles.size;
  }

  get full(): boolean {
    return this.#handles.size >= this.#capacity;
  }

  /** Takes over `fd`, which was opened with `flags`; check {@link full} before opening it. */
  addFile(fd: number, nodeid: number, flags: number): number {
    return this.#add(fd, nodeid, (flags & O_ACCMODE) !== O_RDONLY, undefined);
  }

  /** Takes over `fd`; check {@link full} before opening it. */
  addDirectory(fd: number, nodeid: number): number {
    return this.#add(fd, nodeid, false, new DirectoryReader(fd));
  }

  /** The fd of an open file, or `-EBADF`. */
  fd(fh: number): number {
    const handle = this.#open(fh);
    return handle === undefined || handle.reader !== undefined ? -EBADF : handle.fd;
  }

  /** The fd of a file that is open for writing, or `-EBADF`. */
  writableFd(fh: number): number {
    const handle = this.#open(fh);
    return handle?.writable === true ? handle.fd : -EBADF;
  }

  /** Whether the client has a file open for writing. It looks at every handle: for rare questions. */
  isWritten(nodeid: number): boolean {
    for (const handle of this.#handles.values()) {
      if (handle.nodeid === nodeid && handle.writable && !handle.released) return true;
    }
    return false;
  }

  /** The listing of an open directory. */
  reader(fh: number): DirectoryReader | undefined {
    return this.#open(fh)?.reader;
  }

  /**
   * Keeps the fd of an open file or directory from being closed until {@link unpin}, whatever the client
   * says: for operations that go on after the call that began them. Returns the fd, or `-EBADF`.
   */
  pin(fh: number): number {
    const handle = this.#open(fh);
    if (handle === undefined) return -EBADF;
    handle.pins++;
    return handle.fd;
  }

  unpin(fh: number): void {
    const handle = this.#handles.get(fh);
    if (handle === undefined) return;
    handle.pins--;
    if (handle.released) this.release(fh);
  }

  release(fh: number): void {
    const handle = this.#handles.get(fh);
    if (handle === undefined) return;
    handle.released = true;
    if (handle.pins > 0) return;
    this.#handles.delete(fh);
    close(handle.fd);
  }

  /** Releases every handle. */
  close(): void {
    for (const fh of this.#handles.keys()) this.release(fh);
  }

  #open(fh: number): Handle | undefined {
    const handle = this.#handles.get(fh);
    return handle?.released === true ? undefined : handle;
  }

  #add(fd: number, nodeid: number, writable: boolean, reader: DirectoryReader | undefined): number {
    const fh = this.#next++;
    this.#handles.set(fh, { fd, nodeid, writable, reader, pins: 0, released: false });
    return fh;
  }
}
