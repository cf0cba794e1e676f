import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join, posix } from "node:path";
import { OciError } from "../errors.js";
import { readTar } from "../tar/reader.js";

/** The files of an image source by path, wherever they are. */
export interface SourceFiles {
  /** Size in bytes, or undefined when there is no such file. */
  size(path: string): Promise<number | undefined>;
  /** Streams a file that there is. */
  open(path: string): AsyncIterable<Uint8Array>;
}

const CHUNK = 256 * 1024;

/** The files of a directory. */
export class DirectoryFiles implements SourceFiles {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async size(path: string): Promise<number | undefined> {
    try {
      const stats = await stat(this.#resolve(path));
      return stats.isFile() ? stats.size : undefined;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      throw unreadable(this.#resolve(path), error);
    }
  }

  open(path: string): AsyncIterable<Uint8Array> {
    return createReadStream(this.#resolve(path), { highWaterMark: CHUNK });
  }

  /** Paths come from the image too; with `..` they lead no further up than the directory itself. */
  #resolve(path: string): string {
    return join(this.#root, memberPath(path));
  }
}

/** Where a member of an archive lies, or the link it is. */
type Member = { readonly position: number; readonly size: number } | { readonly link: string };

/** More members than any archive of images has; bounds the memory of the list. */
const MAX_MEMBERS = 100_000;

/** The members of an uncompressed tar archive, read where they lie. */
export class ArchiveFiles implements SourceFiles {
  readonly #path: string;
  readonly #members: ReadonlyMap<string, Member>;

  private constructor(path: string, members: ReadonlyMap<string, Member>) {
    this.#path = path;
    this.#members = members;
  }

  /** Lists the members. Throws {@link OciError} `ERR_OCI_BAD_SOURCE` when it is not a tar archive. */
  static async open(path: string): Promise<ArchiveFiles> {
    const members = new Map<string, Member>();
    try {
      for await (const { header, position } of readTar(
        createReadStream(path, { highWaterMark: CHUNK }),
      )) {
        const name = memberPath(header.name);
        if (header.type === "file") members.set(name, { position, size: header.size });
        // `docker save` once wrote equal layers as links to the first of them.
        if (header.type === "symlink")
          members.set(name, { link: memberPath(posix.join(posix.dirname(name), header.linkname)) });
        if (header.type === "link") members.set(name, { link: memberPath(header.linkname) });
        if (members.size > MAX_MEMBERS) {
          throw new OciError("ERR_OCI_TOO_LARGE", `${path} has more than ${MAX_MEMBERS} members`);
        }
      }
    } catch (error) {
      if (error instanceof OciError && error.code === "ERR_OCI_BAD_LAYER") {
        throw new OciError(
          "ERR_OCI_BAD_SOURCE",
          `${path} is not an OCI layout directory, nor a tar archive of an image; if it is compressed, decompress it first`,
          { cause: error },
        );
      }
      throw error instanceof OciError ? error : unreadable(path, error);
    }
    return new ArchiveFiles(path, members);
  }

  async size(path: string): Promise<number | undefined> {
    return this.#find(path)?.size;
  }

  open(path: string): AsyncIterable<Uint8Array> {
    const member = this.#find(path);
    if (member === undefined || member.size === 0) return (async function* () {})();
    const { position, size } = member;
    return createReadStream(this.#path, {
      start: position,
      end: position + size - 1,
      highWaterMark: CHUNK,
    });
  }

  #find(path: string): { position: number; size: number } | undefined {
    let member = this.#members.get(memberPath(path));
    for (let hops = 0; member !== undefined && "link" in member && hops < 8; hops++) {
      member = this.#members.get(member.link);
    }
    return member !== undefined && "position" in member ? member : undefined;
  }
}

const memberPath = (name: string) => posix.normalize(`/${name}`).replace(/(?!^)\/$/, "");

function unreadable(path: string, cause: unknown): OciError {
  const code = (cause as NodeJS.ErrnoException).code ?? String(cause);
  return new OciError("ERR_OCI_BAD_SOURCE", `${path} cannot be read: ${code}`, { cause });
}

/** Opens the directory or archive at a path; throws {@link OciError} `ERR_OCI_BAD_SOURCE`. */
export async function openFiles(path: string): Promise<SourceFiles> {
  let isDirectory: boolean;
  try {
    isDirectory = (await stat(path)).isDirectory();
  } catch (error) {
    throw unreadable(path, error);
  }
  return isDirectory ? new DirectoryFiles(path) : ArchiveFiles.open(path);
}

/** Reads a small file whole; undefined when there is none. `ERR_OCI_TOO_LARGE` over `max` bytes. */
export async function readSmall(
  files: SourceFiles,
  path: string,
  max: number,
): Promise<Uint8Array | undefined> {
  const size = await files.size(path);
  if (size === undefined) return undefined;
  if (size > max)
    throw new OciError("ERR_OCI_TOO_LARGE", `${path} has ${size} bytes, more than ${max}`);
  return collect(files.open(path), max, path);
}

/** Joins a stream of at most `max` bytes. */
export async function collect(
  chunks: AsyncIterable<Uint8Array>,
  max: number,
  what: string,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    length += chunk.length;
    if (length > max) throw new OciError("ERR_OCI_TOO_LARGE", `${what} has more than ${max} bytes`);
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}
