import { AgentError } from "../errors.js";
import type { ExecRequest } from "../exec-request.js";
import type { GuestProcess } from "../guest-process.js";
import { fileError, GuestFileError, MAX_COMPLAINT } from "./file-error.js";
import { decodeFileEntries, decodeFileStat, type FileEntry, type FileStat } from "./file-record.js";
import { FileWatcher } from "./file-watcher.js";

/** Starts functions of an agent: `argv` as in agent/builtin.h. */
export interface BuiltinStarter {
  startBuiltin(request: ExecRequest): GuestProcess;
}

/** Options of every file operation. */
export interface FileOptions {
  /** As whom it is done: `name`, `uid`, `name:group` or `uid:gid`; root unless given. */
  readonly user?: string;
  /** Gives the operation up; it then rejects with ERR_EXEC_ABORTED. */
  readonly signal?: AbortSignal;
}

/** Options of {@link GuestFiles.read}. */
export interface ReadFileOptions extends FileOptions {
  /** Decodes the content; without it a `Buffer` is returned. */
  readonly encoding?: BufferEncoding;
  /** Most bytes that are read; 64 MiB unless given. */
  readonly maxBytes?: number;
}

/** Options of {@link GuestFiles.write} and {@link GuestFiles.writeStream}. */
export interface WriteFileOptions extends FileOptions {
  /** Permission bits. Default: those of the file that is replaced, else 0o644. */
  readonly mode?: number;
  /** Adds to the file instead of replacing it. Readers may then see a part. */
  readonly append?: boolean;
}

/** SIGTERM, upon which the agent removes what it has not finished. */
const SIGTERM = 15;

/**
 * The files of a guest. They are handled by the agent itself, so the guest needs no program of its own.
 * Paths are absolute, and resolved in the guest; a path whose bytes are not UTF-8 is written as
 * {@link FileEntry.name} has it.
 *
 * All reject with {@link GuestFileError} when the guest refuses, by its `errno`; with
 * {@link AgentError} ERR_EXEC_INVALID for a path that cannot be one, ERR_EXEC_UNKNOWN_USER, ERR_EXEC_ABORTED,
 * ERR_AGENT_GONE or ERR_AGENT_PROTOCOL otherwise.
 */
export class GuestFiles {
  readonly #agent: BuiltinStarter;

  constructor(agent: BuiltinStarter) {
    this.#agent = agent;
  }

  /**
   * Reads a regular file. Over `maxBytes` it rejects with ERR_EXEC_OUTPUT_LIMIT: see
   * {@link readStream}.
   */
  read(path: string, options: ReadFileOptions & { encoding: BufferEncoding }): Promise<string>;
  read(path: string, options?: ReadFileOptions & { encoding?: undefined }): Promise<Buffer>;
  async read(path: string, options: ReadFileOptions = {}): Promise<Buffer | string> {
    const { encoding, maxBytes, ...rest } = options;
    const content = await this.#output(["read", path], rest, maxBytes);
    return encoding === undefined ? content : content.toString(encoding);
  }

  /** Reads a regular file as it is taken. Cancelling stops it. */
  readStream(path: string, options: FileOptions = {}): ReadableStream<Uint8Array> {
    return this.#readable(["read", path], options);
  }

  /**
   * Writes a file. A new file is filled and then takes the name, so readers see the old content or the
   * new; symbolic links are followed to the file they name. Devices, FIFOs, and files whose directory
   * takes no new ones (as in `/proc`) are written in place.
   */
  async write(
    path: string,
    data: string | Uint8Array,
    options: WriteFileOptions = {},
  ): Promise<void> {
    const writer = this.writeStream(path, options).getWriter();
    // It rejects with what write() and close() do.
    writer.closed.catch(() => {});
    await writer.write(typeof data === "string" ? Buffer.from(data) : data);
    await writer.close();
  }

  /**
   * Writes a file as data comes. It gets its content when the stream is closed, and nothing when that
   * is aborted.
   */
  writeStream(path: string, options: WriteFileOptions = {}): WritableStream<Uint8Array> {
    const { mode, append = false, ...rest } = options;
    const bits = mode === undefined ? "-" : modeBits(mode);
    return this.#writable(["write", path, bits, append ? "append" : "replace"], rest);
  }

  /**
   * Lists a directory, without `.` and `..`, in the file system's order. Attributes are those of the
   * entries themselves.
   */
  async list(path: string, options: FileOptions = {}): Promise<FileEntry[]> {
    return decodeFileEntries(await this.#output(["list", path], options));
  }

  /** Attributes of a file. A symbolic link is followed, unless `followSymlinks` is false. */
  async stat(
    path: string,
    options: FileOptions & { readonly followSymlinks?: boolean } = {},
  ): Promise<FileStat> {
    const { followSymlinks = true, ...rest } = options;
    const how = followSymlinks ? "follow" : "nofollow";
    return decodeFileStat(await this.#output(["stat", path, how], rest));
  }

  /** Whether the path names something; a symbolic link counts by what it names. */
  async exists(path: string, options: FileOptions = {}): Promise<boolean> {
    try {
      await this.stat(path, options);
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  /**
   * Removes a file or an empty directory.
   *
   * @param options `recursive`: a directory with all that is in it; links are removed, not followed.
   *   `force`: it is fine when there is nothing.
   */
  async remove(
    path: string,
    options: FileOptions & { readonly recursive?: boolean; readonly force?: boolean } = {},
  ): Promise<void> {
    const { recursive = false, force = false, ...rest } = options;
    await this.#output(["remove", path, flags({ r: recursive, f: force })], rest);
  }

  /** Renames within one file system (else EXDEV); what has the new name is replaced. */
  async rename(from: string, to: string, options: FileOptions = {}): Promise<void> {
    await this.#output(["rename", from, checkedPath(to)], options);
  }

  /**
   * Makes a directory.
   *
   * @param options `recursive`: its parents, too, and it may be there already. `mode`: 0o755 unless
   *   given.
   */
  async mkdir(
    path: string,
    options: FileOptions & { readonly recursive?: boolean; readonly mode?: number } = {},
  ): Promise<void> {
    const { recursive = false, mode = 0o755, ...rest } = options;
    await this.#output(["mkdir", path, modeBits(mode), flags({ p: recursive })], rest);
  }

  /** Makes a symbolic link at `path`; the target is any text. */
  async symlink(target: string, path: string, options: FileOptions = {}): Promise<void> {
    await this.#output(["symlink", path, target], options);
  }

  /** What a symbolic link names; EINVAL for anything else. */
  async readlink(path: string, options: FileOptions = {}): Promise<string> {
    const { target } = await this.stat(path, { ...options, followSymlinks: false });
    if (target !== undefined) return target;
    throw new GuestFileError("readlink", path, "EINVAL", `${path}: not a symbolic link`);
  }

  async chmod(path: string, mode: number, options: FileOptions = {}): Promise<void> {
    await this.#output(["chmod", path, modeBits(mode)], options);
  }

  /** Gives a file, or a symbolic link itself, to a user and a group. */
  async chown(path: string, uid: number, gid: number, options: FileOptions = {}): Promise<void> {
    await this.#output(["chown", path, id(uid), id(gid)], options);
  }

  /**
   * Watches a file or a directory; with `recursive` all directories below, too, up to 65,536 (else
   * ENOSPC). Watching starts at once: await `ready` before making changes that must be seen.
   */
  watch(path: string, options: FileOptions & { readonly recursive?: boolean } = {}): FileWatcher {
    const { recursive = false, ...rest } = options;
    const argv = ["watch", path, flags({ r: recursive })];
    const { process, ended } = this.#stream(argv, rest, false);
    return new FileWatcher(path, process, ended);
  }

  /**
   * A file, or a directory with all below it, as a tar archive, in which it is called `name`. Hard
   * links among them are kept, sockets left out; so is what `/proc`, `/sys` and the like show.
   *
   * @param options `followSymlink`: what the path names, where that is a symbolic link.
   */
  pack(
    path: string,
    name: string,
    options: FileOptions & { readonly followSymlink?: boolean } = {},
  ): ReadableStream<Uint8Array> {
    const { followSymlink = false, ...rest } = options;
    return this.#readable(["pack", path, name, flags({ L: followSymlink })], rest);
  }

  /**
   * Unpacks a tar archive into a directory, beyond which nothing is written. Files are replaced,
   * directories kept.
   *
   * @param options `keepOwners`: by the archive's numbers; otherwise all belongs to `user`.
   */
  unpack(
    directory: string,
    options: FileOptions & { readonly keepOwners?: boolean } = {},
  ): WritableStream<Uint8Array> {
    const { keepOwners = false, ...rest } = options;
    return this.#writable(["unpack", directory, flags({ a: keepOwners })], rest);
  }

  #begin(argv: readonly string[], options: FileOptions, stdin: boolean): GuestProcess {
    checkedPath(argv[1]);
    const { user, signal } = options;
    return this.#agent.startBuiltin({
      argv,
      stdin,
      ...(user === undefined ? {} : { user }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  async #output(argv: readonly string[], options: FileOptions, maxBytes?: number): Promise<Buffer> {
    const result = await this.#begin(argv, options, false).output(maxBytes);
    if (result.code === 0) return result.stdout;
    throw fileError(argv, result, result.stderr);
  }

  /** Begins what has its data streamed. `ended` rejects unless all went well. */
  #stream(argv: readonly string[], options: FileOptions, stdin: boolean) {
    const process = this.#begin(argv, options, stdin);
    const ended = endedWell(argv, process);
    // Whoever uses the stream learns of it there, if at all.
    ended.catch(() => {});
    return { process, ended };
  }

  #readable(argv: readonly string[], options: FileOptions): ReadableStream<Uint8Array> {
    const { process, ended } = this.#stream(argv, options, false);
    const chunks = process.stdout[Symbol.asyncIterator]();
    return new ReadableStream(
      {
        async pull(controller) {
          const next = await chunks.next();
          if (!next.done) {
            controller.enqueue(next.value);
            return;
          }
          await ended;
          controller.close();
        },
        cancel: () => process.close(),
      },
      { highWaterMark: 0 },
    );
  }

  #writable(argv: readonly string[], options: FileOptions): WritableStream<Uint8Array> {
    const { process, ended } = this.#stream(argv, options, true);
    const { stdin } = process;
    process.stdout.resume();
    stdin.on("error", () => {});
    const early = ended.then(() => {
      throw new AgentError("ERR_AGENT_PROTOCOL", `${argv[0]} ended before it had all data`);
    });
    early.catch(() => {});
    return new WritableStream({
      write: (chunk) =>
        // A process that has failed takes no more: the error is that of its end, not of the pipe.
        Promise.race([
          early,
          new Promise<void>((resolve) => {
            stdin.write(chunk, (error) => {
              if (!error) resolve();
            });
          }),
        ]),
      async close() {
        stdin.end();
        await ended;
      },
      async abort() {
        process.signal(SIGTERM);
        await ended.catch(() => {});
      },
    });
  }
}

async function endedWell(argv: readonly string[], process: GuestProcess): Promise<void> {
  const [complaint, status] = await Promise.all([
    firstBytes(process.stderr, MAX_COMPLAINT),
    process.exited,
  ]);
  if (status.code !== 0) throw fileError(argv, status, complaint);
}

function isMissing(error: unknown): boolean {
  return error instanceof GuestFileError && ["ENOENT", "ENOTDIR"].includes(error.errno);
}

function invalid(message: string): AgentError {
  return new AgentError("ERR_EXEC_INVALID", message);
}

function checkedPath(path: string | undefined): string {
  if (path?.startsWith("/")) return path;
  throw invalid(`${JSON.stringify(path)}: give an absolute path in the guest`);
}

function modeBits(mode: number): string {
  if (Number.isInteger(mode) && mode >= 0 && mode <= 0o7777) return mode.toString(8);
  throw invalid(`${mode} is no file mode: give permission bits, 0 to 0o7777`);
}

function id(value: number): string {
  if (Number.isInteger(value) && value >= 0 && value < 0xffff_ffff) return String(value);
  throw invalid(`${value} is no user or group id`);
}

function flags(chosen: Readonly<Record<string, boolean>>): string {
  const letters = Object.keys(chosen).filter((letter) => chosen[letter]);
  return letters.length === 0 ? "-" : letters.join("");
}

/** Reads a stream to its end and keeps its beginning. */
async function firstBytes(stream: AsyncIterable<Buffer>, max: number): Promise<Buffer> {
  const kept: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    if (size < max) kept.push(chunk);
    size += chunk.length;
  }
  return Buffer.concat(kept);
}
