import { constants, type Stats } from "node:fs";
import { lstat, open, readdir, readlink, stat } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { encodeTarHeader, TAR_BLOCK, type TarEntryType } from "@supermachine/oci/tar";
import { decodeName } from "@supermachine-internal/file-name";
import { SupermachineError } from "../errors.js";
import { HostDirectory } from "./host-directory.js";

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
const READ_SIZE = 256 * 1024;
/** Headers and small files are collected into pieces of this size at least. */
const PIECE_SIZE = 64 * 1024;

/** Options of {@link packHost}. */
export interface HostPackOptions {
  /** What the path names, where that is a symbolic link. */
  readonly followSymlink?: boolean;
}

/** One walk through a tree of the host. */
class HostPacker {
  /** The first name of each file that has several. */
  readonly #names = new Map<string, string>();

  /** Packs an entry of a directory as `name`. */
  async *entry(
    parent: HostDirectory,
    entry: string,
    name: string,
    follow: boolean,
  ): AsyncGenerator<Uint8Array> {
    try {
      const path = parent.at(entry);
      const st = await (follow ? stat : lstat)(path);
      const earlier = this.#earlierName(st, name);
      if (st.isDirectory()) {
        await using directory = await parent.directory(entry, follow);
        yield* this.#directory(directory, name);
      } else if (earlier !== undefined) yield header(st, "link", name, earlier);
      else if (st.isFile()) yield* file(path, name, follow);
      else if (st.isSymbolicLink())
        yield header(st, "symlink", name, decodeName(await readlink(path, "buffer")));
      else if (st.isFIFO()) yield header(st, "fifo", name);
    } catch (error) {
      throw unreadable(name, error);
    }
  }

  async *#directory(directory: HostDirectory, name: string): AsyncGenerator<Uint8Array> {
    yield header(await directory.handle.stat(), "directory", `${name}/`);
    for (const bytes of await readdir(directory.self, "buffer")) {
      const entry = decodeName(bytes);
      yield* this.entry(directory, entry, `${name}/${entry}`, false);
    }
  }

  #earlierName(st: Stats, name: string): string | undefined {
    if (st.nlink < 2 || st.isDirectory()) return undefined;
    const key = `${st.dev}:${st.ino}`;
    const earlier = this.#names.get(key);
    if (earlier === undefined) this.#names.set(key, name);
    return earlier;
  }
}

async function* file(path: Buffer, name: string, follow: boolean): AsyncGenerator<Uint8Array> {
  // A FIFO that has taken the file's place must not be waited for.
  const handle = await open(path, O_RDONLY | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW));
  try {
    const st = await handle.stat();
    if (!st.isFile()) throw changed(name);
    yield header(st, "file", name);
    for (let left = st.size; left > 0; ) {
      const buffer = Buffer.allocUnsafe(Math.min(left, READ_SIZE));
      const { bytesRead } = await handle.read(buffer);
      if (bytesRead === 0) throw changed(name);
      yield buffer.subarray(0, bytesRead);
      left -= bytesRead;
    }
    yield Buffer.alloc((TAR_BLOCK - (st.size % TAR_BLOCK)) % TAR_BLOCK);
  } finally {
    await handle.close();
  }
}

function header(st: Stats, type: TarEntryType, name: string, linkname = ""): Buffer {
  return encodeTarHeader({
    type,
    name,
    linkname,
    mode: st.mode & 0o7777,
    uid: st.uid,
    gid: st.gid,
    size: type === "file" ? st.size : 0,
    mtime: Math.floor(st.mtimeMs / 1000),
  });
}

function changed(name: string): SupermachineError {
  return new SupermachineError("ERR_COPY_HOST", `${name} changed while it was read; copy it again`);
}

function unreadable(path: string, error: unknown): SupermachineError {
  if (error instanceof SupermachineError) return error;
  const why = error instanceof Error && "code" in error ? error.code : error;
  return new SupermachineError("ERR_COPY_HOST", `cannot read ${path}: ${why}`, { cause: error });
}

async function* inPieces(parts: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let piece: Uint8Array[] = [];
  let size = 0;
  for await (const part of parts) {
    piece.push(part);
    size += part.length;
    if (size < PIECE_SIZE) continue;
    yield piece.length === 1 ? part : Buffer.concat(piece);
    piece = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(piece);
}

async function* archive(
  path: string,
  name: string,
  followSymlink: boolean,
): AsyncGenerator<Uint8Array> {
  const absolute = resolve(path);
  // A slash at its end makes a path name a directory, also through a link.
  const follow = followSymlink || /\/\.?$/.test(path);
  const parent = await HostDirectory.open(dirname(absolute)).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  try {
    yield* new HostPacker().entry(parent, basename(absolute) || ".", name, follow);
  } finally {
    await parent[Symbol.asyncDispose]();
  }
  yield Buffer.alloc(2 * TAR_BLOCK);
}

/**
 * A file of the host, or a directory with all below it, as a tar archive in which it is called `name`.
 * Hard links among them are kept; sockets and devices are left out: the former are nothing without
 * their servers, the latter not the guest's.
 *
 * @throws {@link SupermachineError} ERR_COPY_HOST
 */
export function packHost(
  path: string,
  name: string,
  { followSymlink = false }: HostPackOptions = {},
): AsyncGenerator<Uint8Array> {
  return inPieces(archive(path, name, followSymlink));
}
