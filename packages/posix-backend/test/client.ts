import { errnoName } from "@supermachine/fuse-protocol";
import {
  type Attr,
  AttrReply,
  type DirectoryPlusSink,
  EntryReply,
  OpenReply,
  type RequestContext,
  type Result,
  type SetattrRequest,
} from "@supermachine/fuse-server";
import { PosixBackend, type PosixBackendOptions } from "../src/index.js";

export const root = 1;

/** A caller with these ids. */
export function callerContext(
  uid: number,
  gid: number,
  supplementaryGroup?: number,
): RequestContext {
  return {
    uid,
    gid,
    pid: 1,
    unique: 1n,
    lockOwner: 0n,
    signal: new AbortController().signal,
    supplementaryGroup,
  };
}

export const asRoot = callerContext(0, 0);

/** `result`, with a failure as its name: what tests compare. One that is still awaited is "waits". */
export function outcome(result: Result): number | string {
  if (typeof result !== "number") return "waits";
  return result < 0 ? errnoName(result) : result;
}

function succeed(result: number, what: string): number {
  if (result < 0) throw new Error(`${what}: ${errnoName(result)}`);
  return result;
}

const noChange: SetattrRequest = {
  valid: 0,
  size: 0,
  mode: 0,
  uid: 0,
  gid: 0,
  atime: 0,
  mtime: 0,
  ctime: 0,
  atimensec: 0,
  mtimensec: 0,
  ctimensec: 0,
};

/** A client that calls a backend as the dispatcher does, and throws on failure where it says so. */
export class Client implements Disposable {
  readonly backend: PosixBackend;
  readonly entry = new EntryReply();
  readonly opened = new OpenReply();

  constructor(path: string, options: PosixBackendOptions = {}) {
    this.backend = new PosixBackend(path, options);
  }

  [Symbol.dispose](): void {
    this.backend.close();
  }

  /** The nodeid of a path of names; throws when there is none. */
  walk(path: string): number {
    let nodeid = root;
    for (const name of path.split("/").filter((part) => part !== "")) {
      succeed(this.backend.lookup(asRoot, nodeid, name, this.entry), `lookup ${path}`);
      nodeid = this.entry.nodeid;
    }
    return nodeid;
  }

  lookup(parent: number, name: string): number | string {
    return outcome(this.backend.lookup(asRoot, parent, name, this.entry));
  }

  attr(nodeid: number, fh?: number): Attr {
    const reply = new AttrReply();
    succeed(this.backend.getattr(asRoot, nodeid, fh, reply), `getattr ${nodeid}`);
    return reply.attr;
  }

  /** The new file's nodeid and handle. */
  create(parent: number, name: string, mode = 0o644, ctx = asRoot, flags = 2): [number, number] {
    const { backend, entry, opened } = this;
    succeed(backend.create(ctx, parent, name, mode, 0, flags, entry, opened, 0), `create ${name}`);
    return [entry.nodeid, opened.fh];
  }

  mkdir(parent: number, name: string, mode = 0o755, ctx = asRoot): number {
    succeed(this.backend.mkdir(ctx, parent, name, mode, 0, this.entry), `mkdir ${name}`);
    return this.entry.nodeid;
  }

  open(nodeid: number, flags = 0, openFlags = 0): number {
    succeed(this.backend.open(asRoot, nodeid, flags, this.opened, openFlags), `open ${nodeid}`);
    return this.opened.fh;
  }

  tryOpen(nodeid: number, flags = 0): number | string {
    return outcome(this.backend.open(asRoot, nodeid, flags, this.opened, 0));
  }

  write(fh: number, text: string, offset = 0, writeFlags = 0): number {
    return this.backend.write(asRoot, root, fh, offset, [Buffer.from(text)], writeFlags);
  }

  read(fh: number, size = 4096, offset = 0): string {
    const buffer = Buffer.alloc(size);
    const result = this.backend.read(asRoot, root, fh, offset, [buffer]);
    if (typeof result !== "number") throw new Error("the host does not have it cached");
    const length = succeed(result, "read");
    return buffer.toString("utf8", 0, length);
  }

  setattr(
    nodeid: number,
    change: Partial<SetattrRequest>,
    fh?: number,
    ctx = asRoot,
  ): number | string {
    const reply = new AttrReply();
    return outcome(this.backend.setattr(ctx, nodeid, fh, { ...noChange, ...change }, reply));
  }

  /** The names of a directory, read `chunk` records at a time. */
  list(nodeid: number, chunk = Number.POSITIVE_INFINITY): string[] {
    succeed(this.backend.opendir(asRoot, nodeid, 0, this.opened), "opendir");
    const { fh } = this.opened;
    const names: string[] = [];
    let offset = 0;
    for (;;) {
      let room = chunk;
      const before = offset;
      const add = (name: string, _ino: number, _type: number, next: number): boolean => {
        if (room-- <= 0) return false;
        names.push(name);
        offset = next;
        return true;
      };
      succeed(this.backend.readdir(asRoot, nodeid, fh, offset, { add }), "readdir");
      if (offset === before) break;
    }
    this.backend.releasedir(asRoot, nodeid, fh);
    return names.filter((name) => name !== "." && name !== "..");
  }

  /** Names with the nodeid of each, from one readdirplus with room for `room` records. */
  listPlus(nodeid: number, room: number): Map<string, number> {
    succeed(this.backend.opendir(asRoot, nodeid, 0, this.opened), "opendir");
    const { fh } = this.opened;
    const found = new Map<string, number>();
    const entry = new EntryReply();
    const sink: DirectoryPlusSink = {
      entry,
      add(name) {
        const fits = found.size < room;
        if (fits) found.set(name, entry.nodeid);
        entry.nodeid = 0;
        entry.attr.clear();
        return fits;
      },
    };
    succeed(this.backend.readdirplus(asRoot, nodeid, fh, 0, sink), "readdirplus");
    this.backend.releasedir(asRoot, nodeid, fh);
    return found;
  }
}
