import { DirectoryReader } from "./directory-reader.js";
import { close } from "./syscalls/linux.js";

/** An open regular file. */
export interface FileHandle {
  readonly kind: "file";
  readonly fd: number;
  readonly writable: boolean;
}

/** An open directory. */
export interface DirectoryHandle {
  readonly kind: "directory";
  readonly fd: number;
  readonly reader: DirectoryReader;
}

type Handle = FileHandle | DirectoryHandle;

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

  /** Takes over `fd`; check {@link full} before opening it. */
  addFile(fd: number, writable: boolean): number {
    return this.#add({ kind: "file", fd, writable });
  }

  /** Takes over `fd`; check {@link full} before opening it. */
  addDirectory(fd: number): number {
    return this.#add({ kind: "directory", fd, reader: new DirectoryReader(fd) });
  }

  file(fh: number): FileHandle | undefined {
    const handle = this.#handles.get(fh);
    return handle?.kind === "file" ? handle : undefined;
  }

  directory(fh: number): DirectoryHandle | undefined {
    const handle = this.#handles.get(fh);
    return handle?.kind === "directory" ? handle : undefined;
  }

  release(fh: number): void {
    const handle = this.#handles.get(fh);
    if (handle === undefined) return;
    this.#handles.delete(fh);
    close(handle.fd);
  }

  /** Releases every handle. */
  close(): void {
    for (const fh of this.#handles.keys()) this.release(fh);
  }

  #add(handle: Handle): number {
    const fh = this.#next++;
    this.#handles.set(fh, handle);
    return fh;
  }
}
