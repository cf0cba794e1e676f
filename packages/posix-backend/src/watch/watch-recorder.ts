import { ENOSPC, S_IFDIR, S_IFMT } from "@supermachine/fuse-protocol";
import {
  Attr,
  type AttrReply,
  type DirectoryPlusSink,
  type EntryReply,
  type Notifier,
  type StatxReply,
} from "@supermachine/fuse-server";
import { StatBuffer } from "../nodes/stat-buffer.js";
import { ABSENT, type ClientView } from "./client-view.js";
import { WATCHED_EVENTS, watchDirectory } from "./inotify.js";

/** What watching asks the node table. */
export interface WatchedNodes {
  /** An O_PATH handle of a node, good until the next call, or a negated errno. */
  fd(nodeid: number): number;
  /** The node of the inode whose attributes `stat` holds, if the client holds it. */
  find(stat: StatBuffer): number | undefined;
  nodeids(): Iterable<number>;
}

/** Who reads the events of the watches and tells the client: the `PosixWatcher`, on whatever thread it is. */
export interface WatchRegistry extends Disposable {
  /** The inotify instance. */
  readonly fd: number;
  /** There is a client, and a way to tell it. */
  readonly active: boolean;
  /** How the next client can be told. */
  attach(notifier: Notifier): void;
  /** A client has connected. */
  start(): void;
  /** The client is gone. */
  stop(): void;
  watched(nodeid: number, wd: number): void;
  forgotten(nodeid: number): void;
  close(): void;
}

/** How long the client may trust what no watch vouches for, in milliseconds. */
const UNWATCHED_MS = 1000;

/**
 * Stands by while a client is served, on each thread that does: notes what the client is told, watches each
 * directory before the client can ask for anything in it, and shortens the time for which the client trusts
 * what nothing vouches for.
 */
export class WatchRecorder implements Disposable {
  readonly #nodes: Pick<WatchedNodes, "fd">;
  readonly #view: ClientView;
  readonly #registry: WatchRegistry;
  readonly #maxWatches: number;
  /** Directories that were watched from this thread. */
  readonly #directories = new Set<number>();
  readonly #stat = new StatBuffer();
  readonly #attr = new Attr();

  constructor(
    nodes: Pick<WatchedNodes, "fd">,
    view: ClientView,
    registry: WatchRegistry,
    maxWatches: number,
  ) {
    this.#nodes = nodes;
    this.#view = view;
    this.#registry = registry;
    this.#maxWatches = maxWatches;
  }

  attach(notifier: Notifier): void {
    this.#registry.attach(notifier);
  }

  /** A client has connected, which knows the root alone. */
  start(root: number): void {
    this.#directories.clear();
    this.#registry.start();
    this.#watch(root);
  }

  /** The client is gone. */
  stop(): void {
    this.#directories.clear();
    this.#registry.stop();
  }

  close(): void {
    this.#registry.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The client is about to be told what a name stands for. */
  entry(parent: number, name: string, entry: EntryReply): void {
    const { attr, nodeid } = entry;
    this.#view.tellName(parent, name, nodeid);
    if (nodeid !== ABSENT) {
      if ((attr.mode & S_IFMT) === S_IFDIR && this.#watch(nodeid)) {
        // What changed in it between the look at it and the watch went unseen.
        const now = this.#attributes(nodeid);
        const same = now?.ctime === attr.ctime && now.ctimensec === attr.ctimensec;
        if (!same) entry.attrValidMs = 0;
      }
      this.attributes(nodeid, entry);
    }
    if (!this.#view.complete) entry.entryValidMs = Math.min(entry.entryValidMs, UNWATCHED_MS);
  }

  /** As `entry`, of what the client itself has just made. */
  made(parent: number, name: string, entry: EntryReply): void {
    this.#view.clientChanges(entry.nodeid);
    this.entry(parent, name, entry);
  }

  /** The client is about to be told attributes of a node. */
  attributes(nodeid: number, reply: AttrReply | EntryReply): void {
    const { ctime, ctimensec, nlink, mode } = reply.attr;
    this.#view.tellAttributes(nodeid, ctime, ctimensec);
    this.#limit(reply, nlink, mode);
  }

  statx(nodeid: number, reply: StatxReply): void {
    this.#view.tellAttributes(nodeid, reply.ctime.seconds, reply.ctime.nanoseconds);
    this.#limit(reply, reply.nlink, reply.mode);
  }

  /** A listing that tells of each record as `entry` does. */
  listing(parent: number, sink: DirectoryPlusSink): DirectoryPlusSink {
    return {
      entry: sink.entry,
      add: (name, offset) => {
        if (sink.entry.nodeid !== 0) this.entry(parent, name, sink.entry);
        return sink.add(name, offset);
      },
    };
  }

  /** The client is about to change the contents of a node, be it a file or a directory. */
  clientChanges(nodeid: number): void {
    this.#view.clientChanges(nodeid);
  }

  /** The client has removed a name. */
  nameRemoved(parent: number, name: string): void {
    this.#view.tellName(parent, name, ABSENT);
  }

  /** The client has renamed one name to another, or exchanged them. */
  nameMoved(
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    exchange: boolean,
  ): void {
    const moved = this.#view.meaning(parent, name);
    const replaced = exchange ? this.#view.meaning(newParent, newName) : ABSENT;
    this.#view.tellName(newParent, newName, moved);
    this.#view.tellName(parent, name, replaced);
  }

  /** The client has forgotten a directory. */
  forgotten(nodeid: number): void {
    this.#directories.delete(nodeid);
    this.#registry.forgotten(nodeid);
  }

  #limit(reply: { attrValidMs: number }, nlink: number, mode: number): void {
    // A file may be changed by a name in a directory that the client does not know.
    const severalNames = nlink > 1 && (mode & S_IFMT) !== S_IFDIR;
    if (this.#view.complete && !severalNames) return;
    reply.attrValidMs = Math.min(reply.attrValidMs, UNWATCHED_MS);
  }

  /** Watches a directory; whether it was not watched from here before. */
  #watch(nodeid: number): boolean {
    if (!this.#registry.active || this.#directories.has(nodeid)) return false;
    const fd = this.#nodes.fd(nodeid);
    const full = this.#view.watches >= this.#maxWatches;
    const wd = full ? -ENOSPC : fd < 0 ? fd : watchDirectory(this.#registry.fd, fd, WATCHED_EVENTS);
    if (wd < 0) {
      this.#view.complete = false;
      return false;
    }
    // What other threads forgot is still in the set: it only saves system calls.
    if (this.#directories.size > this.#maxWatches) this.#directories.clear();
    this.#directories.add(nodeid);
    this.#registry.watched(nodeid, wd);
    return true;
  }

  #attributes(nodeid: number): Attr | undefined {
    const fd = this.#nodes.fd(nodeid);
    if (fd < 0 || this.#stat.read(fd) < 0) return undefined;
    this.#stat.copyTo(this.#attr);
    return this.#attr;
  }
}
