import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { encodeName } from "@supermachine-internal/file-name";

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;

/** The bytes of a path for a system call: names need not be UTF-8. */
export function pathBytes(path: string): Buffer {
  return Buffer.from(encodeName(path));
}

/**
 * A directory of the host that stays the same, whatever happens to its path. A guest that shares the
 * tree in which files are copied may change it meanwhile: a path resolved twice could lead anywhere the
 * second time.
 *
 * On Linux entries are reached through the descriptor (proc(5), /proc/self/fd). Elsewhere there is no
 * such way without native code: entries are reached by the path, on which no symbolic link was when it
 * was opened.
 */
export class HostDirectory implements AsyncDisposable {
  readonly #handle: FileHandle;
  readonly #path: Buffer;

  private constructor(handle: FileHandle, path: Buffer) {
    this.#handle = handle;
    this.#path =
      process.platform === "linux" ? Buffer.from(`/proc/self/fd/${handle.fd}`, "latin1") : path;
  }

  /** Opens a directory by its path; symbolic links are followed. */
  static async open(path: string): Promise<HostDirectory> {
    const bytes = pathBytes(path);
    return new HostDirectory(await open(bytes, O_RDONLY | O_DIRECTORY), bytes);
  }

  /** Opens a directory in this one; ENOTDIR for a symbolic link, unless links shall be followed. */
  async directory(name: string, follow = false): Promise<HostDirectory> {
    const path = this.at(name);
    const flags = O_RDONLY | O_DIRECTORY | (follow ? 0 : O_NOFOLLOW);
    return new HostDirectory(await open(path, flags), path);
  }

  /** The path of an entry for system calls that follow no symbolic link at its end. */
  at(name: string): Buffer {
    return Buffer.concat([this.#path, Buffer.from("/"), pathBytes(name)]);
  }

  /** The path of the directory itself for system calls. */
  get self(): Buffer {
    return this.at(".");
  }

  /** The open directory, to change its attributes. */
  get handle(): FileHandle {
    return this.#handle;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}
