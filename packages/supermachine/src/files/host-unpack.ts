import { constants } from "node:fs";
import {
  type FileHandle,
  lchown,
  link,
  lstat,
  lutimes,
  mkdir,
  open,
  symlink,
  unlink,
} from "node:fs/promises";
import { readTar, type TarEntry, type TarHeader } from "@supermachine/oci/tar";
import { SupermachineError } from "../errors.js";
import { HostDirectory, pathBytes } from "./host-directory.js";

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;

/** Options of {@link unpackToHost}. */
export interface HostUnpackOptions {
  /** The one name at the archive's top; `.` or nothing when there may be any. */
  readonly root?: string;
  /**
   * Owners by the archive's numbers, and set-id bits; otherwise all belongs to the caller, without
   * those bits.
   */
  readonly keepOwners?: boolean;
  /** Is told of what cannot be made: devices and FIFOs. */
  readonly onSkipped?: (path: string, type: string) => void;
}

/** Linux has no longer path, in bytes, and so none deeper than half of that. */
const MAX_NAME = 4096;
/** Most directories of an archive: each is remembered until the end. */
const MAX_DIRECTORIES = 1_000_000;

/** What becomes of a file at last. */
type Attributes = Pick<TarHeader, "name" | "mode" | "uid" | "gid" | "mtime">;

function refused(name: string, why: string): SupermachineError {
  return new SupermachineError(
    "ERR_COPY_ARCHIVE",
    `the archive has ${JSON.stringify(name)}, which ${why}; the rest was not unpacked`,
  );
}

function failed(name: string, error: unknown): SupermachineError {
  if (error instanceof SupermachineError) return error;
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (typeof code === "string" && code.startsWith("ERR_OCI_")) {
    const message = `not a tar archive that can be unpacked: ${(error as Error).message}`;
    return new SupermachineError("ERR_COPY_ARCHIVE", message, { cause: error });
  }
  const message = `cannot write ${JSON.stringify(name)}: ${code ?? error}`;
  return new SupermachineError("ERR_COPY_HOST", message, { cause: error });
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException | undefined)?.code;

/**
 * Puts the entries of an archive below a directory. The archive is a guest's, and trusted in nothing.
 */
class HostUnpacker {
  readonly #root: HostDirectory;
  readonly #options: HostUnpackOptions;
  /** The directory that the last entry went into: the next one mostly goes there, too. */
  #parent: { readonly path: string; readonly directory: HostDirectory } | undefined;
  /** Directories get their mode and times at the end: until then files go into them. */
  readonly #made: Attributes[] = [];

  constructor(root: HostDirectory, options: HostUnpackOptions) {
    this.#root = root;
    this.#options = options;
  }

  async unpack(entry: TarEntry): Promise<void> {
    const { header } = entry;
    const parts = this.#parts(header.name);
    const name = parts.at(-1);
    if (name === undefined) return;
    const parent = await this.#directory(parts.slice(0, -1));
    if (header.type === "directory") {
      await this.#makeDirectory(parent, name, header);
      return;
    }
    if (!["file", "link", "symlink"].includes(header.type)) {
      this.#options.onSkipped?.(header.name, header.type);
      return;
    }
    // Whatever else has the name goes; a directory stays, and makes the new file fail.
    await unlink(parent.at(name)).catch((error: unknown) => {
      if (codeOf(error) !== "ENOENT") throw error;
    });
    if (header.type === "file") await this.#makeFile(parent.at(name), entry);
    else if (header.type === "symlink") await this.#makeSymlink(parent.at(name), header);
    else await this.#makeLink(parent.at(name), header);
  }

  async finish(): Promise<void> {
    for (const header of this.#made.reverse()) {
      const directory = await this.#directory(this.#parts(header.name));
      await this.#attributes(directory.handle, header);
    }
  }

  /** The components of a name, which must stay below the root. */
  #parts(name: string): string[] {
    const parts = name.split("/").filter((part) => part !== "" && part !== ".");
    const { root = "." } = this.#options;
    if (parts.includes("..")) throw refused(name, "leads out of the directory");
    if (name.includes("\0")) throw refused(name, "is no name");
    if (name.length > MAX_NAME) throw refused(`${name.slice(0, 100)}...`, "is too long for a name");
    if (root !== "." && parts.length > 0 && parts[0] !== root) {
      throw refused(name, `is not below ${JSON.stringify(root)}, which was asked for`);
    }
    return parts;
  }

  /** The directory of that name, until the next call. */
  async #directory(parts: readonly string[]): Promise<HostDirectory> {
    const path = parts.join("/");
    if (this.#parent?.path !== path) {
      const directory = await this.#open(parts);
      await this.close();
      this.#parent = { path, directory };
    }
    return this.#parent.directory;
  }

  /** Opens a directory, making what is missing of it. No symbolic link is followed, whoever made it. */
  async #open(parts: readonly string[]): Promise<HostDirectory> {
    let directory = await this.#root.directory(".");
    for (const part of parts) {
      await using above = directory;
      try {
        directory = await openOrMake(above, part);
      } catch (error) {
        if (!["ENOTDIR", "ELOOP"].includes(codeOf(error) ?? "")) throw error;
        throw refused(parts.join("/"), `is below ${JSON.stringify(part)}, which is no directory`);
      }
    }
    return directory;
  }

  /** Lets go of what is open. */
  async close(): Promise<void> {
    await this.#parent?.directory[Symbol.asyncDispose]();
    this.#parent = undefined;
  }

  /** A directory that is there stays as it is. */
  async #makeDirectory(parent: HostDirectory, name: string, header: TarHeader): Promise<void> {
    try {
      await mkdir(parent.at(name), 0o700);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
      if ((await lstat(parent.at(name))).isDirectory()) return;
      throw error;
    }
    if (this.#made.length === MAX_DIRECTORIES) throw refused(header.name, "is one too many");
    // Not the header: that may hold a megabyte of extended attributes.
    const { mode, uid, gid, mtime } = header;
    this.#made.push({ name: header.name, mode, uid, gid, mtime });
  }

  async #makeFile(path: Buffer, entry: TarEntry): Promise<void> {
    const handle = await open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      for await (const chunk of entry.content()) await handle.writeFile(chunk);
      await this.#attributes(handle, entry.header);
    } catch (error) {
      await unlink(path).catch(() => {});
      throw error;
    } finally {
      await handle.close();
    }
  }

  async #makeSymlink(path: Buffer, header: TarHeader): Promise<void> {
    await symlink(pathBytes(header.linkname), path);
    if (this.#options.keepOwners) await lchown(path, header.uid, header.gid);
    await lutimes(path, header.mtime, header.mtime);
  }

  async #makeLink(path: Buffer, { linkname }: TarHeader): Promise<void> {
    const parts = this.#parts(linkname);
    const name = parts.at(-1);
    if (name === undefined) throw refused(linkname, "is no file to be linked to");
    await using directory = await this.#open(parts.slice(0, -1));
    const target = directory.at(name);
    // Only Linux surely links a symbolic link itself, not what it names.
    const st = await lstat(target);
    if (!st.isFile() && !(st.isSymbolicLink() && process.platform === "linux")) {
      throw refused(linkname, "is no file to be linked to");
    }
    await link(target, path);
  }

  async #attributes(handle: FileHandle, header: Attributes): Promise<void> {
    const { keepOwners = false } = this.#options;
    // The owner first: its change takes set-id bits away.
    if (keepOwners) await handle.chown(header.uid, header.gid);
    await handle.chmod(keepOwners ? header.mode : header.mode & 0o1777);
    await handle.utimes(header.mtime, header.mtime);
  }
}

async function openOrMake(above: HostDirectory, name: string): Promise<HostDirectory> {
  try {
    return await above.directory(name);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    await mkdir(above.at(name), 0o755);
    return above.directory(name);
  }
}

/**
 * Unpacks a tar archive below a directory of the host, which must exist. Files and links are replaced,
 * directories kept. The archive may be hostile: no name in it and no link, of the archive or there
 * before, leads out of the directory. What was unpacked before a failure stays.
 *
 * @throws {@link SupermachineError} ERR_COPY_ARCHIVE for what is no archive, or one that would lead
 *   out; ERR_COPY_HOST when the host refuses, with its error as `cause`. Errors of `chunks` are passed
 *   on.
 */
export async function unpackToHost(
  chunks: AsyncIterable<Uint8Array>,
  path: string,
  options: HostUnpackOptions = {},
): Promise<void> {
  let source: unknown;
  const watched = noticing(chunks, (error) => {
    source = error;
  });
  let current = path;
  try {
    await using root = await HostDirectory.open(path);
    const unpacker = new HostUnpacker(root, options);
    try {
      for await (const entry of readTar(watched)) {
        current = entry.header.name;
        await unpacker.unpack(entry);
      }
      await unpacker.finish();
    } finally {
      await unpacker.close();
    }
  } catch (error) {
    throw source ?? failed(current, error);
  }
}

async function* noticing(
  chunks: AsyncIterable<Uint8Array>,
  onError: (error: unknown) => void,
): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    onError(error);
    throw error;
  }
}
