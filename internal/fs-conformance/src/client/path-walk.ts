import {
  EBADF,
  ELOOP,
  ENOENT,
  ENOTDIR,
  FUSE_ROOT_ID,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
} from "@supermachine/fuse-protocol";
import { type Attr, type FuseClient, FuseError } from "@supermachine/fuse-server";

/** A file, by the id and attributes that the server gave. */
export interface Node {
  readonly nodeid: number;
  readonly attr: Attr;
}

/** Where a path leads. */
export interface Found {
  readonly directory: Node;
  /** Undefined for the directory itself. */
  readonly name: string | undefined;
  /** Undefined when there is none of that name. */
  readonly node: Node | undefined;
}

const MOST_LINKS = 40;

export function typeOf({ attr }: Node): number {
  return attr.mode & S_IFMT;
}

/** Resolves paths as a kernel does, and counts what the server has to be told to forget. */
export class PathWalk {
  readonly #client: FuseClient;
  readonly #held = new Map<number, number>();

  constructor(client: FuseClient) {
    this.#client = client;
  }

  /** Counts a delivery of a node. */
  hold(node: Node): Node {
    this.#held.set(node.nodeid, (this.#held.get(node.nodeid) ?? 0) + 1);
    return node;
  }

  /** Leaves one delivery to the caller to forget: an open file holds its node. */
  keep(node: Node): void {
    this.#held.set(node.nodeid, (this.#held.get(node.nodeid) ?? 0) - 1);
  }

  /** Forgets all that is held. */
  async forget(): Promise<void> {
    const counts = [...this.#held].filter(
      ([nodeid, count]) => nodeid !== FUSE_ROOT_ID && count > 0,
    );
    this.#held.clear();
    if (counts.length > 0) await this.#client.batchForget(counts);
  }

  async root(): Promise<Node> {
    return { nodeid: FUSE_ROOT_ID, attr: await this.#client.getattr(FUSE_ROOT_ID) };
  }

  async lookup(directory: Node, name: string): Promise<Node> {
    return this.hold(await this.#client.lookup(directory.nodeid, name));
  }

  /** @param follow - Whether a link at the end is followed. */
  async resolve(start: Node | undefined, path: string, follow: boolean): Promise<Found> {
    if (start === undefined) throw new FuseError(EBADF);
    if (path === "") throw new FuseError(ENOENT);
    const directories = [start];
    const names = path.split("/").filter((name) => name !== "");
    let links = 0;
    for (;;) {
      const directory = directories.at(-1) ?? start;
      const name = names.shift();
      if (name === undefined) return { directory, name, node: directory };
      if (typeOf(directory) !== S_IFDIR) throw new FuseError(ENOTDIR);
      if (name === ".") continue;
      if (name === "..") {
        if (directories.length > 1) directories.pop();
        continue;
      }
      const isLast = names.length === 0;
      const node = await this.#find(directory, name, isLast);
      if (node === undefined) return { directory, name, node };
      if (typeOf(node) === S_IFLNK && (!isLast || follow)) {
        if (++links > MOST_LINKS) throw new FuseError(ELOOP);
        names.unshift(...(await this.#client.readlink(node.nodeid)).split("/"));
      } else if (isLast) return { directory, name, node };
      else directories.push(node);
    }
  }

  async #find(directory: Node, name: string, mayMiss: boolean): Promise<Node | undefined> {
    try {
      return await this.lookup(directory, name);
    } catch (error) {
      if (mayMiss && error instanceof FuseError && error.errno === ENOENT) return undefined;
      throw error;
    }
  }
}
