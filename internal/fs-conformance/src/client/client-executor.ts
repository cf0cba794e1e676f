import {
  EACCES,
  EBADF,
  EEXIST,
  EINVAL,
  EISDIR,
  ENODATA,
  ENOENT,
  EPERM,
  errnoName,
  FATTR_ATIME,
  FATTR_ATIME_NOW,
  FATTR_GID,
  FATTR_MODE,
  FATTR_MTIME,
  FATTR_MTIME_NOW,
  FATTR_SIZE,
  FATTR_UID,
  FUSE_FALLOCATE,
  FUSE_ROOT_ID,
  fuse_fallocate_in,
  O_ACCMODE,
  O_CREAT,
  O_EXCL,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
  RENAME_EXCHANGE,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from "@supermachine/fuse-protocol";
import { type Attr, type FuseClient, FuseError, RequestWriter } from "@supermachine/fuse-server";
import { showBytes } from "../data.js";
import type { Executor } from "../executor.js";
import { field, laterTimes } from "./attributes.js";
import { OpenFiles } from "./open-files.js";
import { type Found, type Node, PathWalk, typeOf } from "./path-walk.js";
import { Tree } from "./tree.js";
import { dataOf, nameOf, numberOf, O_NOFOLLOW } from "./words.js";

type Answer = string | number;
type Command = (...args: string[]) => Promise<Answer | undefined>;

/**
 * Runs the executor's commands with a FuseClient, as root: the client's kernel is this class. Paths have
 * no slash at the end.
 */
export class ClientExecutor implements Executor {
  readonly #client: FuseClient;
  readonly #walk: PathWalk;
  readonly #files: OpenFiles;
  readonly #tree: Tree;
  readonly #tracked = new Map<string, Attr>();
  #umask = 0o022;

  constructor(client: FuseClient) {
    this.#client = client;
    this.#walk = new PathWalk(client);
    this.#files = new OpenFiles(client, this.#walk);
    this.#tree = new Tree(client, this.#walk);
  }

  /** The commands that it knows. */
  static get commands(): ReadonlySet<string> {
    return new Set(Object.keys(new ClientExecutor({} as FuseClient).#commands));
  }

  async run(lines: readonly string[]): Promise<string[]> {
    const answers: string[] = [];
    for (const line of lines) answers.push(await this.#runLine(line));
    return answers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.run(["reset"]);
    // Nothing answers a FORGET: once this is answered, those before it are done.
    await this.#client.getattr(FUSE_ROOT_ID);
    this.#client.close();
  }

  async #runLine(line: string): Promise<string> {
    const [name = "", ...args] = line.split(" ");
    const command = this.#commands[name];
    if (command === undefined) return `unknown command: ${name}`;
    try {
      return String((await command(...args)) ?? 0);
    } catch (error) {
      if (error instanceof FuseError) return errnoName(error.errno);
      throw error;
    } finally {
      await this.#walk.forget();
    }
  }

  // --- places

  async #find(word: string, follow = false): Promise<Found> {
    const [, slot, path = ""] = /^@(\d+)\/?(.*)$/.exec(word) ?? [];
    if (slot === undefined) {
      return this.#walk.resolve(await this.#walk.root(), nameOf(word), follow);
    }
    const { node, fh } = this.#files.get(Number(slot));
    if (path !== "") return this.#walk.resolve(node, nameOf(path), follow);
    const attr = await this.#client.getattr(node.nodeid, typeOf(node) === S_IFDIR ? undefined : fh);
    const now = { nodeid: node.nodeid, attr };
    return { directory: now, name: undefined, node: now };
  }

  async #existing(word: string, follow = false): Promise<Node> {
    const { node } = await this.#find(word, follow);
    if (node === undefined) throw new FuseError(ENOENT);
    return node;
  }

  /** A name that an operation is to make, remove or replace. */
  async #name(word: string): Promise<[parent: number, name: string]> {
    const { directory, name } = await this.#find(word);
    if (name === undefined) throw new FuseError(EINVAL);
    return [directory.nodeid, name];
  }

  #masked(mode: number): number {
    return mode & ~this.#umask;
  }

  // --- commands

  readonly #commands: Readonly<Record<string, Command>> = {
    reset: async () => {
      await this.#files.closeAll();
      await this.#tree.empty(await this.#walk.root());
      this.#umask = 0o022;
      await this.#client.setattr(FUSE_ROOT_ID, { valid: FATTR_MODE, mode: 0o755 });
      return 0;
    },
    umask: async (mask = "") => {
      this.#umask = numberOf(mask);
      return 0;
    },
    mkdir: async (path = "", mode = "0755") => {
      const [parent, name] = await this.#name(path);
      const bits = this.#masked(numberOf(mode) & 0o1777);
      this.#walk.hold(await this.#client.mkdir(parent, name, bits));
      return 0;
    },
    rmdir: async (path = "") => this.#client.rmdir(...(await this.#name(path))).then(() => 0),
    unlink: async (path = "") => this.#client.unlink(...(await this.#name(path))).then(() => 0),
    rename: async (from = "", to = "", flags = "0") => {
      const bits = numberOf(flags);
      if ((bits & RENAME_EXCHANGE) !== 0 && bits !== RENAME_EXCHANGE) throw new FuseError(EINVAL);
      const source = await this.#find(from);
      const target = await this.#name(to);
      if (source.node === undefined || source.name === undefined) throw new FuseError(ENOENT);
      await this.#client.rename(source.directory.nodeid, source.name, ...target, bits);
      return 0;
    },
    link: async (from = "", to = "", flags = "0") => {
      const node = await this.#existing(from, numberOf(flags) !== 0);
      const target = await this.#name(to);
      if ((await this.#find(to)).node !== undefined) throw new FuseError(EEXIST);
      this.#walk.hold(await this.#client.link(node.nodeid, ...target));
      return 0;
    },
    symlink: async (target = "", path = "") => {
      this.#walk.hold(await this.#client.symlink(...(await this.#name(path)), nameOf(target)));
      return 0;
    },
    readlink: async (path = "") => {
      const node = await this.#existing(path);
      if (typeOf(node) !== S_IFLNK) throw new FuseError(EINVAL);
      return this.#client.readlink(node.nodeid);
    },
    mknod: async (path = "", mode = "") => {
      const [parent, name] = await this.#name(path);
      const type = numberOf(mode) & S_IFMT || S_IFREG;
      const bits = this.#masked(numberOf(mode) & 0o7777);
      this.#walk.hold(await this.#client.mknod(parent, name, type | bits));
      return 0;
    },
    make: async (type = "", path = "") => {
      const [parent, name] = await this.#name(path);
      const special = { fifo: S_IFIFO, socket: S_IFSOCK }[type] ?? S_IFREG;
      const entry =
        type === "directory"
          ? await this.#client.mkdir(parent, name, 0o755)
          : type === "symlink"
            ? await this.#client.symlink(parent, name, "nowhere")
            : await this.#client.mknod(parent, name, special | 0o644);
      this.#walk.hold(entry);
      return 0;
    },
    open: async (slot = "", path = "", flags = "", mode = "0644") => {
      const bits = numberOf(flags);
      const exclusive = (bits & O_CREAT) !== 0 && (bits & O_EXCL) !== 0;
      const found = await this.#find(path, (bits & O_NOFOLLOW) === 0 && !exclusive);
      await this.#files.open(Number(slot), found, bits, this.#masked(numberOf(mode)));
      return 0;
    },
    close: async (slot = "") => this.#files.close(Number(slot)).then(() => 0),
    write: async (path = "", data = "", mode = "0644") => {
      const flags = O_WRONLY | O_CREAT | O_TRUNC;
      const scratch = -1;
      const bits = this.#masked(numberOf(mode));
      await this.#files.open(scratch, await this.#find(path, true), flags, bits);
      try {
        return await this.#files.write(scratch, dataOf(data), 0);
      } finally {
        await this.#files.close(scratch);
      }
    },
    append: async (slot = "", data = "") =>
      this.#files.write(Number(slot), dataOf(data), undefined),
    pwrite: async (slot = "", data = "", offset = "") =>
      this.#files.write(Number(slot), dataOf(data), numberOf(offset)),
    pread: async (slot = "", length = "", offset = "") =>
      showBytes(await this.#files.read(Number(slot), numberOf(length), numberOf(offset))),
    read: async (slot = "", length = "") =>
      showBytes(await this.#files.read(Number(slot), numberOf(length), undefined)),
    cat: async (path = "") => {
      const scratch = -1;
      await this.#files.open(scratch, await this.#find(path, true), O_RDONLY, 0);
      try {
        const { node } = this.#files.get(scratch);
        return showBytes(await this.#files.read(scratch, node.attr.size + 1, 0));
      } finally {
        await this.#files.close(scratch);
      }
    },
    fsync: async (slot = "") => this.#sync(slot),
    fdatasync: async (slot = "") => this.#sync(slot),
    fallocate: async (slot = "", mode = "", offset = "", length = "") => {
      const { node, fh, flags } = this.#files.get(Number(slot));
      if (numberOf(length) === 0) throw new FuseError(EINVAL);
      if ((flags & O_ACCMODE) === O_RDONLY) throw new FuseError(EBADF);
      const writer = new RequestWriter().struct(fuse_fallocate_in, {
        fh: BigInt(fh),
        offset: BigInt(offset),
        length: BigInt(length),
        mode: numberOf(mode),
        padding: 0,
      });
      await this.#client.request(FUSE_FALLOCATE, node.nodeid, writer);
      return 0;
    },
    truncate: async (path = "", size = "") => {
      const [, slot] = /^@(\d+)$/.exec(path) ?? [];
      const node = await this.#existing(path, true);
      const readOnly =
        slot !== undefined && (this.#files.get(Number(slot)).flags & O_ACCMODE) === O_RDONLY;
      if (slot === undefined && typeOf(node) === S_IFDIR) throw new FuseError(EISDIR);
      if (readOnly || typeOf(node) !== S_IFREG) throw new FuseError(EINVAL);
      await this.#client.setattr(node.nodeid, { valid: FATTR_SIZE, size: numberOf(size) });
      return 0;
    },
    chmod: async (path = "", mode = "") => {
      const { nodeid } = await this.#existing(path, true);
      await this.#client.setattr(nodeid, { valid: FATTR_MODE, mode: numberOf(mode) });
      return 0;
    },
    chown: async (path = "", uid = "", gid = "") =>
      this.#chown(await this.#existing(path, true), Number(uid), Number(gid)),
    lchown: async (path = "", uid = "", gid = "") =>
      this.#chown(await this.#existing(path), Number(uid), Number(gid)),
    utimens: async (path = "", atime = "", mtime = "") => this.#setTimes(path, true, atime, mtime),
    lutimens: async (path = "", atime = "", mtime = "") =>
      this.#setTimes(path, false, atime, mtime),
    stat: async (path = "", fields = "") => show(await this.#existing(path, true), fields),
    lstat: async (path = "", fields = "") => show(await this.#existing(path), fields),
    same: async (a = "", b = "") => {
      const [first, second] = [await this.#existing(a), await this.#existing(b)];
      return first.nodeid === second.nodeid && first.attr.ino === second.attr.ino ? "yes" : "no";
    },
    track: async (slot = "", path = "") => {
      this.#tracked.set(slot, (await this.#existing(path)).attr);
      return 0;
    },
    changed: async (slot = "", path = "") => {
      const before = this.#tracked.get(slot);
      return before === undefined
        ? "untracked"
        : laterTimes(before, (await this.#existing(path)).attr);
    },
    tick: async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return 0;
    },
    access: async (path = "", mask = "") => {
      const node = await this.#existing(path, true);
      const runs = typeOf(node) === S_IFDIR || (node.attr.mode & 0o111) !== 0;
      if ((numberOf(mask) & 1) !== 0 && !runs) throw new FuseError(EACCES);
      return 0;
    },
    readdir: async (path = "") => this.#tree.list(await this.#existing(path, true)),
    tree: async () => `tree${await this.#tree.show(await this.#walk.root(), "")}`,
    setxattr: async (path = "", name = "", value = "", flags = "0") => {
      const node = await this.#attributed(path, EPERM);
      await this.#client.setxattr(node.nodeid, nameOf(name), dataOf(value), numberOf(flags));
      return 0;
    },
    getxattr: async (path = "", name = "", size = "65536") => {
      const node = await this.#attributed(path, ENODATA);
      if (size !== "0") {
        return showBytes(await this.#client.getxattr(node.nodeid, nameOf(name), numberOf(size)));
      }
      return (await this.#client.getxattr(node.nodeid, nameOf(name))).length;
    },
    listxattr: async (path = "") => {
      const { nodeid } = await this.#existing(path);
      const names = (await this.#client.listxattr(nodeid)).filter((name) =>
        name.startsWith("user."),
      );
      return names.length === 0 ? "none" : names.sort().join(" ");
    },
    removexattr: async (path = "", name = "") => {
      const node = await this.#attributed(path, EPERM);
      await this.#client.removexattr(node.nodeid, nameOf(name));
      return 0;
    },
  };

  async #sync(slot: string): Promise<number> {
    const { node, fh } = this.#files.get(Number(slot));
    if (typeOf(node) !== S_IFDIR) await this.#client.fsync(node.nodeid, fh);
    return 0;
  }

  async #chown({ nodeid }: Node, uid: number, gid: number): Promise<number> {
    const valid = (uid === -1 ? 0 : FATTR_UID) | (gid === -1 ? 0 : FATTR_GID);
    // A change of nothing is sent, too: it may take set-id bits away.
    await this.#client.setattr(nodeid, { valid, uid: uid >>> 0, gid: gid >>> 0 });
    return 0;
  }

  async #setTimes(path: string, follow: boolean, atime: string, mtime: string): Promise<number> {
    // Then not even the path is looked at.
    if (atime === "omit" && mtime === "omit") {
      if (path.startsWith("@")) this.#files.get(Number.parseInt(path.slice(1), 10));
      return 0;
    }
    const { nodeid } = await this.#existing(path, follow);
    const time = (text: string, set: number, now: number) => {
      if (text === "omit") return { valid: 0, seconds: 0, nanoseconds: 0 };
      const [seconds = 0, nanoseconds = 0] = text.split(".").map(Number);
      return text === "now"
        ? { valid: set | now, seconds: 0, nanoseconds: 0 }
        : { valid: set, seconds, nanoseconds };
    };
    const accessed = time(atime, FATTR_ATIME, FATTR_ATIME_NOW);
    const modified = time(mtime, FATTR_MTIME, FATTR_MTIME_NOW);
    await this.#client.setattr(nodeid, {
      valid: accessed.valid | modified.valid,
      atime: accessed.seconds,
      atimensec: accessed.nanoseconds,
      mtime: modified.seconds,
      mtimensec: modified.nanoseconds,
    });
    return 0;
  }

  /** Only files and directories have attributes of users (xattr(7)). */
  async #attributed(path: string, otherwise: number): Promise<Node> {
    const node = await this.#existing(path);
    const type = typeOf(node);
    if (type !== S_IFREG && type !== S_IFDIR) throw new FuseError(otherwise);
    return node;
  }
}

function show({ attr }: Node, fields: string): string {
  if (fields === "") return "0";
  return fields
    .split(",")
    .map((name) => field(attr, name))
    .join(" ");
}
