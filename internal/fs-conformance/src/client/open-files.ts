import {
  EBADF,
  EEXIST,
  EISDIR,
  ELOOP,
  ENOENT,
  ENOTDIR,
  ENXIO,
  FUSE_ROOT_ID,
  O_ACCMODE,
  O_APPEND,
  O_CREAT,
  O_EXCL,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
} from "@supermachine/fuse-protocol";
import { type FuseClient, FuseError } from "@supermachine/fuse-server";
import { type Found, type Node, type PathWalk, typeOf } from "./path-walk.js";
import { O_DIRECTORY, O_NOFOLLOW } from "./words.js";

interface OpenFile {
  readonly node: Node;
  readonly fh: number;
  readonly flags: number;
  position: number;
}

/** The files that a program has open, by slot; does what a kernel does between it and a server. */
export class OpenFiles {
  readonly #client: FuseClient;
  readonly #walk: PathWalk;
  readonly #slots = new Map<number, OpenFile>();

  constructor(client: FuseClient, walk: PathWalk) {
    this.#client = client;
    this.#walk = walk;
  }

  get(slot: number): OpenFile {
    const file = this.#slots.get(slot);
    if (file === undefined) throw new FuseError(EBADF);
    return file;
  }

  /** @param mode - With the umask applied. */
  async open(slot: number, found: Found, flags: number, mode: number): Promise<void> {
    const opened = await this.#open(found, flags, mode);
    this.#walk.keep(opened.node);
    if (this.#slots.has(slot)) await this.close(slot);
    this.#slots.set(slot, { ...opened, flags, position: 0 });
  }

  async #open(found: Found, flags: number, mode: number): Promise<{ node: Node; fh: number }> {
    const { node, directory, name } = found;
    if (node === undefined) {
      if ((flags & O_CREAT) === 0 || name === undefined) throw new FuseError(ENOENT);
      const made = await this.#client.create(directory.nodeid, name, mode, flags);
      return { node: this.#walk.hold(made.entry), fh: made.opened.fh };
    }
    checkOpen(node, flags);
    const reply =
      typeOf(node) === S_IFDIR
        ? await this.#client.opendir(node.nodeid)
        : await this.#client.open(node.nodeid, flags & ~(O_CREAT | O_EXCL));
    return { node, fh: reply.fh };
  }

  async close(slot: number): Promise<void> {
    const { node, fh } = this.get(slot);
    this.#slots.delete(slot);
    if (typeOf(node) === S_IFDIR) await this.#client.releasedir(node.nodeid, fh);
    else await this.#client.release(node.nodeid, fh);
    if (node.nodeid !== FUSE_ROOT_ID) await this.#client.forget(node.nodeid, 1);
  }

  async closeAll(): Promise<void> {
    for (const slot of [...this.#slots.keys()]) await this.close(slot);
  }

  /** @param offset - Undefined: where the last one stopped. */
  async read(slot: number, length: number, offset: number | undefined): Promise<Uint8Array> {
    const file = this.get(slot);
    if ((file.flags & O_ACCMODE) === O_WRONLY) throw new FuseError(EBADF);
    if (typeOf(file.node) === S_IFDIR) throw new FuseError(EISDIR);
    const at = offset ?? file.position;
    const bytes = await this.#client.read(file.node.nodeid, file.fh, at, length);
    if (offset === undefined) file.position += bytes.length;
    return bytes;
  }

  /** @param offset - Undefined: where the last one stopped. With O_APPEND the end, in any case. */
  async write(slot: number, data: Uint8Array, offset: number | undefined): Promise<number> {
    const file = this.get(slot);
    if ((file.flags & O_ACCMODE) === O_RDONLY) throw new FuseError(EBADF);
    if (data.length === 0) return 0;
    const { nodeid } = file.node;
    const at =
      (file.flags & O_APPEND) === 0
        ? (offset ?? file.position)
        : (await this.#client.getattr(nodeid, file.fh)).size;
    const count = await this.#client.write(nodeid, file.fh, at, data);
    if (offset === undefined) file.position = at + count;
    return count;
  }
}

/** What open(2) refuses without asking the server. */
function checkOpen(node: Node, flags: number): void {
  const type = typeOf(node);
  if ((flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0) throw new FuseError(EEXIST);
  if (type === S_IFDIR) {
    const changes = (flags & (O_CREAT | O_TRUNC)) !== 0 || (flags & O_ACCMODE) !== O_RDONLY;
    if (changes) throw new FuseError(EISDIR);
  } else if ((flags & O_DIRECTORY) !== 0) throw new FuseError(ENOTDIR);
  else if (type === S_IFLNK && (flags & O_NOFOLLOW) !== 0) throw new FuseError(ELOOP);
  else if (type !== S_IFREG) throw new FuseError(ENXIO);
}
