import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  openSync,
  readSync,
  readvSync,
  writevSync,
} from "node:fs";
import { VirtioError } from "../../error.js";
import { sliceBuffers, totalLength } from "../../queue/scatter.js";
import type { BlockBackend } from "./backend.js";

export interface FileBlockBackendOptions {
  /** Default `false`. */
  readonly readOnly?: boolean;
}

const SECTOR = 512;
const ZEROES = new Uint8Array(64 << 10);

/** A disk in a file. The file's length, rounded up to a sector, is the disk's; it never grows. */
export class FileBlockBackend implements BlockBackend {
  readonly capacity: number;
  readonly readOnly: boolean;
  readonly #path: string;
  readonly #fd: number;
  readonly #fileLength: number;
  #open = true;

  private constructor(path: string, fd: number, fileLength: number, readOnly: boolean) {
    this.#path = path;
    this.#fd = fd;
    this.#fileLength = fileLength;
    this.capacity = Math.ceil(fileLength / SECTOR) * SECTOR;
    this.readOnly = readOnly;
  }

  /**
   * Opens a regular file.
   *
   * @throws VirtioError `ERR_VIRTIO_BLOCK_BACKEND` when it cannot be opened or is no usable disk.
   */
  static open(path: string, options: FileBlockBackendOptions = {}): FileBlockBackend {
    const readOnly = options.readOnly ?? false;
    let fd: number;
    try {
      // Non-blocking, so that a FIFO in the place of the file does not hang us before fstat.
      fd = openSync(
        path,
        (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK,
      );
    } catch (cause) {
      throw new VirtioError("ERR_VIRTIO_BLOCK_BACKEND", `disk ${path}: cannot be opened`, {
        cause,
      });
    }
    const stat = fstatSync(fd);
    const problem = !stat.isFile()
      ? "is not a regular file"
      : !readOnly && stat.size % SECTOR !== 0
        ? `has ${stat.size} bytes; make it a multiple of ${SECTOR} to write to it`
        : undefined;
    if (problem !== undefined) {
      closeSync(fd);
      throw new VirtioError("ERR_VIRTIO_BLOCK_BACKEND", `disk ${path}: ${problem}`);
    }
    return new FileBlockBackend(path, fd, stat.size, readOnly);
  }

  readSync(buffers: readonly Uint8Array[], offset: number): void {
    // One plain read is the common case, and cheaper than a vector of one.
    const [first] = buffers;
    let done = 0;
    if (first !== undefined && buffers.length === 1) {
      done = readSync(this.#fd, first, 0, first.length, offset);
    }
    const length = totalLength(buffers);
    while (done < length) {
      const rest = done === 0 ? buffers : sliceBuffers(buffers, done, length - done);
      const count = readvSync(this.#fd, rest, offset + done);
      if (count === 0) {
        this.#zeroLastSector(rest, offset + done);
        return;
      }
      done += count;
    }
  }

  writeSync(buffers: readonly Uint8Array[], offset: number): void {
    const length = totalLength(buffers);
    let done = 0;
    while (done < length) {
      const rest = done === 0 ? buffers : sliceBuffers(buffers, done, length - done);
      done += writevSync(this.#fd, rest, offset + done);
    }
  }

  flushSync(): void {
    if (!this.readOnly) fdatasyncSync(this.#fd);
  }

  writeZeroesSync(offset: number, length: number): void {
    for (let done = 0; done < length; done += ZEROES.length) {
      this.writeSync([ZEROES.subarray(0, length - done)], offset + done);
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** End of file: right in the padding of the last sector, an error before (the file shrank). */
  #zeroLastSector(rest: readonly Uint8Array[], offset: number): void {
    if (offset < this.#fileLength) {
      throw new VirtioError(
        "ERR_VIRTIO_BLOCK_BACKEND",
        `disk ${this.#path}: shrank below ${this.#fileLength} bytes while in use`,
      );
    }
    for (const buffer of rest) buffer.fill(0);
  }
}
