import {
  DT_BLK,
  DT_CHR,
  DT_DIR,
  DT_FIFO,
  DT_LNK,
  DT_SOCK,
  encodeName,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
} from "@supermachine/fuse-protocol";
import type { Dirent, FuseClient } from "@supermachine/fuse-server";
import { showBytes } from "../data.js";
import { type Node, type PathWalk, typeOf } from "./path-walk.js";

const MARKS: Readonly<Record<number, string>> = {
  [DT_DIR]: "/",
  [DT_LNK]: "@",
  [DT_FIFO]: "|",
  [DT_SOCK]: "=",
  [DT_CHR]: "-",
  [DT_BLK]: "+",
};

/** Whole directories: listing, showing and emptying them (executor/tree.c). */
export class Tree {
  readonly #client: FuseClient;
  readonly #walk: PathWalk;

  constructor(client: FuseClient, walk: PathWalk) {
    this.#client = client;
    this.#walk = walk;
  }

  async #names(directory: Node): Promise<Dirent[]> {
    const { nodeid } = directory;
    const { fh } = await this.#client.opendir(nodeid);
    const found: Dirent[] = [];
    try {
      for (;;) {
        const more = await this.#client.readdir(nodeid, fh, found.at(-1)?.offset ?? 0);
        if (more.length === 0) break;
        found.push(...more);
      }
    } finally {
      await this.#client.releasedir(nodeid, fh);
    }
    return found
      .filter(({ name }) => name !== "." && name !== "..")
      .sort((a, b) => Buffer.compare(encodeName(a.name), encodeName(b.name)));
  }

  /** Names with a mark of their type. */
  async list(directory: Node): Promise<string> {
    const names = await this.#names(directory);
    if (names.length === 0) return "empty";
    return names.map(({ name, type }) => `${name}${MARKS[type] ?? ""}`).join(" ");
  }

  /** All that is below a directory. */
  async show(directory: Node, prefix: string): Promise<string> {
    let text = "";
    for (const { name } of await this.#names(directory)) {
      const node = await this.#walk.lookup(directory, name);
      const { mode, nlink, uid, gid } = node.attr;
      const bits = mode.toString(8).padStart(6, "0");
      text += `[${prefix}${name} ${bits} ${nlink} ${uid}:${gid}${await this.#content(node)}`;
      text += `${await this.#xattrs(node)}]`;
      if (typeOf(node) === S_IFDIR) text += await this.show(node, `${prefix}${name}/`);
    }
    return text;
  }

  async #content(node: Node): Promise<string> {
    const { nodeid, attr } = node;
    if (typeOf(node) === S_IFLNK) return ` ${await this.#client.readlink(nodeid)}`;
    if (typeOf(node) !== S_IFREG) return "";
    const { fh } = await this.#client.open(nodeid);
    const bytes = await this.#client.read(nodeid, fh, 0, attr.size + 1);
    await this.#client.release(nodeid, fh);
    return ` ${attr.size} ${showBytes(bytes)}`;
  }

  async #xattrs({ nodeid }: Node): Promise<string> {
    let text = "";
    for (const name of (await this.#client.listxattr(nodeid)).sort()) {
      if (!name.startsWith("user.")) continue;
      text += ` ${name}=${showBytes(await this.#client.getxattr(nodeid, name))}`;
    }
    return text;
  }

  async empty(directory: Node): Promise<void> {
    for (const { name } of await this.#names(directory)) {
      const node = await this.#walk.lookup(directory, name);
      if (typeOf(node) === S_IFDIR) {
        await this.empty(node);
        await this.#client.rmdir(directory.nodeid, name);
      } else await this.#client.unlink(directory.nodeid, name);
    }
  }
}
