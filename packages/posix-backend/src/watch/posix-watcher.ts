import { ENOENT, ENOSPC, errnoName, S_IFDIR, S_IFMT, S_IFREG } from "@supermachine/fuse-protocol";
import {
  Attr,
  type AttrReply,
  type DirectoryPlusSink,
  type EntryReply,
  type Notifier,
} from "@supermachine/fuse-server";
import { type Watch, watchReadable } from "@supermachine-internal/libc";
import { PosixBackendError } from "../error.js";
import { NameBuffer } from "../name-buffer.js";
import { StatBuffer } from "../stat-buffer.js";
import { close } from "../syscalls/linux.js";
import { ABSENT, ClientView, NOTHING } from "./client-view.js";
import {
  IN_ATTRIB,
  IN_CREATE,
  IN_DELETE,
  IN_IGNORED,
  IN_MODIFY,
  IN_MOVED_FROM,
  IN_MOVED_TO,
  IN_Q_OVERFLOW,
  inotifyInit,
  parseEvents,
  readEvents,
  removeWatch,
  watchDirectory,
} from "./inotify.js";
import { Invalidations } from "./invalidations.js";

/** What the watcher asks the node table. */
export interface WatchedNodes {
  /** An O_PATH handle of a node, good until the next call, or a negated errno. */
  fd(nodeid: number): number;
  /** The node of the inode whose attributes `stat` holds, if the client knows it. */
  find(stat: StatBuffer): number | undefined;
  nodeids(): Iterable<number>;
}

export interface WatchSettings {
  readonly maxWatches: number;
  /** The client may cache that there is no file of some name. */
  readonly cachesAbsence: boolean;
  /** Names may stand for files in directories that the client has not come through. */
  readonly followsLinks: boolean;
}

/** Events that say that a name stands for something else now. */
const NAME_EVENTS = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;
const EVENTS = NAME_EVENTS | IN_MODIFY | IN_ATTRIB;

/** How long events are collected, in milliseconds: many changes of one file are told as one. */
const COLLECT_MS = 10;
/** Names with events that are collected; with more, the client is told to forget everything. */
const MAX_COLLECTED = 32_768;
/** How long the client may trust what no watch covers, in milliseconds. */
const UNWATCHED_MS = 1000;
const EVENT_BYTES = 65_536;
/** Reads per turn of the event loop. */
const READS = 16;

/**
 * Watches every directory that the client knows with inotify(7), and notifies the client of what the
 * host changes in them.
 *
 * Events only say where to look: what is told follows from how the host is then and what the client was told
 * before ({@link ClientView}). A name is dropped only when it stands for something else, never because contents
 * or attributes changed: dropping it would take down what the client has mounted on it.
 *
 * Not covered, and so trusted for a second at most: what is told once a directory could not be watched, files
 * with several names, everything where links are followed, and everything without a notifier.
 */
export class PosixWatcher implements Disposable {
  readonly #nodes: WatchedNodes;
  readonly #settings: WatchSettings;
  readonly #view = new ClientView();
  readonly #fd: number;
  readonly #watch: Watch;
  readonly #directories = new Map<number, number>();
  readonly #wds = new Map<number, number>();
  /** For each directory, names and the union of their events. An empty name is the directory itself. */
  #collected = new Map<number, Map<string, number>>();
  #collectedNames = 0;
  #timer: NodeJS.Timeout | undefined;
  #notifier: Notifier | undefined;
  #invalidations: Invalidations | undefined;
  /** Every name that the client knows is in a directory that is watched. */
  #complete = false;
  readonly #bytes = Buffer.allocUnsafeSlow(EVENT_BYTES);
  readonly #stat = new StatBuffer();
  readonly #attr = new Attr();
  readonly #name = new NameBuffer();
  #open = true;

  /** @throws `PosixBackendError` `ERR_POSIX_WATCH` when there is no inotify instance to be had. */
  constructor(nodes: WatchedNodes, settings: WatchSettings) {
    this.#nodes = nodes;
    this.#settings = settings;
    this.#fd = inotifyInit();
    if (this.#fd < 0) {
      throw new PosixBackendError(
        "ERR_POSIX_WATCH",
        `cannot watch for changes: ${errnoName(this.#fd)}; raise fs.inotify.max_user_instances`,
      );
    }
    this.#watch = watchReadable(this.#fd, () => this.#read());
    this.#watch.unref();
  }

  /** How many directories are watched. */
  get size(): number {
    return this.#directories.size;
  }

  /** Where to tell of changes, from the next {@link start} on. */
  attach(notifier: Notifier): void {
    this.#notifier = notifier;
  }

  /** A client has connected, which knows the root alone. */
  start(root: number): void {
    this.stop();
    if (this.#notifier === undefined) return;
    this.#complete = !this.#settings.followsLinks;
    this.#invalidations = new Invalidations(this.#notifier, (send) => this.#invalidateAll(send));
    this.#addDirectory(root);
  }

  /** The client is gone. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#invalidations?.close();
    this.#invalidations = undefined;
    for (const wd of this.#wds.keys()) removeWatch(this.#fd, wd);
    this.#wds.clear();
    this.#directories.clear();
    this.#collected.clear();
    this.#collectedNames = 0;
    this.#view.clear();
    this.#complete = false;
  }

  /**
   * The client is about to be told what a name stands for. A directory is watched from now on, before the client
   * can ask for anything in it; `entry` loses the time that nothing vouches for.
   */
  entry(parent: number, name: string, entry: EntryReply): void {
    const { attr, nodeid } = entry;
    this.#view.tellName(parent, name, nodeid);
    if (nodeid !== ABSENT) {
      if ((attr.mode & S_IFMT) === S_IFDIR && this.#addDirectory(nodeid)) {
        // What changed in it between the look at it and the watch went unseen.
        const { ctime, ctimensec } = this.#attributes(nodeid);
        if (ctime !== attr.ctime || ctimensec !== attr.ctimensec) entry.attrValidMs = 0;
      }
      this.attributes(nodeid, entry);
    }
    if (!this.#complete) entry.entryValidMs = Math.min(entry.entryValidMs, UNWATCHED_MS);
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
    const severalNames = nlink > 1 && (mode & S_IFMT) !== S_IFDIR;
    if (this.#complete && !severalNames) return;
    reply.attrValidMs = Math.min(reply.attrValidMs, UNWATCHED_MS);
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

  /** The client has forgotten a node. */
  forgotten(nodeid: number): void {
    const wd = this.#directories.get(nodeid);
    if (wd === undefined) return;
    this.#directories.delete(nodeid);
    // Two nodes share a watch where links are followed to one directory.
    if (this.#wds.get(wd) !== nodeid) return;
    this.#wds.delete(wd);
    removeWatch(this.#fd, wd);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.stop();
    this.#watch.close();
    close(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Whether the directory is watched now and was not before. */
  #addDirectory(nodeid: number): boolean {
    if (this.#invalidations === undefined || this.#directories.has(nodeid)) return false;
    const fd = this.#nodes.fd(nodeid);
    const full = this.#directories.size >= this.#settings.maxWatches;
    const wd = full ? -ENOSPC : fd < 0 ? fd : watchDirectory(this.#fd, fd, EVENTS);
    if (wd < 0) {
      this.#complete = false;
      return false;
    }
    this.#directories.set(nodeid, wd);
    this.#wds.set(wd, nodeid);
    return true;
  }

  /** The present attributes of a node: those before, when it has none any more. */
  #attributes(nodeid: number): Attr {
    const fd = this.#nodes.fd(nodeid);
    if (fd >= 0 && this.#stat.read(fd) === 0) this.#stat.copyTo(this.#attr);
    return this.#attr;
  }

  #read(): void {
    for (let reads = 0; reads < READS; reads++) {
      const length = readEvents(this.#fd, this.#bytes);
      if (length <= 0) break;
      const whole = parseEvents(this.#bytes.subarray(0, length), (wd, mask, name) =>
        this.#collect(wd, mask, name),
      );
      if (!whole) this.#forgetCollected();
    }
    if (this.#collected.size > 0) this.#timer ??= setTimeout(() => this.#tell(), COLLECT_MS);
  }

  #collect(wd: number, mask: number, name: string): void {
    if ((mask & IN_Q_OVERFLOW) !== 0) this.#forgetCollected();
    const nodeid = this.#wds.get(wd);
    if (nodeid === undefined) return;
    if ((mask & IN_IGNORED) !== 0) {
      // The directory is gone, or the file system that it was on.
      this.#wds.delete(wd);
      this.#directories.delete(nodeid);
      return;
    }
    const names = this.#collected.get(nodeid) ?? new Map<string, number>();
    const before = names.get(name);
    names.set(name, (before ?? 0) | mask);
    this.#collected.set(nodeid, names);
    if (before === undefined && ++this.#collectedNames > MAX_COLLECTED) this.#forgetCollected();
  }

  /** Events are lost, or too many. */
  #forgetCollected(): void {
    this.#collected.clear();
    this.#collectedNames = 0;
    this.#invalidations?.everything();
  }

  #tell(): void {
    this.#timer = undefined;
    const collected = this.#collected;
    this.#collected = new Map();
    this.#collectedNames = 0;
    for (const [directory, names] of collected) this.#tellDirectory(directory, names);
  }

  #tellDirectory(directory: number, names: ReadonlyMap<string, number>): void {
    let listingChanged = false;
    let attributesChanged = false;
    for (const [name, mask] of names) {
      if (name === "") attributesChanged = true;
      else {
        if ((mask & NAME_EVENTS) !== 0) listingChanged = true;
        this.#tellName(directory, name, mask);
      }
    }
    if (!listingChanged && !attributesChanged) return;
    this.#tellNode(directory, this.#attributes(directory), attributesChanged, false);
  }

  #tellName(directory: number, name: string, mask: number): void {
    const fd = this.#nodes.fd(directory);
    if (fd < 0 || this.#name.set(name) < 0) return;
    const failure = this.#stat.readName(fd, this.#name.bytes);
    const nodeid = failure === 0 ? this.#nodes.find(this.#stat) : undefined;
    const now = failure === -ENOENT ? ABSENT : nodeid;
    const isNews = (mask & NAME_EVENTS) !== 0 && this.#tellMeaning(directory, name, mask, now);
    if (nodeid === undefined) return;
    // What another name brought here may have been written to where nobody watches.
    const contents = (mask & IN_MODIFY) !== 0 || (isNews && (mask & IN_MOVED_TO) !== 0);
    const attributes = (mask & (IN_ATTRIB | IN_CREATE | IN_MOVED_TO)) !== 0;
    if (!contents && !attributes) return;
    this.#stat.copyTo(this.#attr);
    this.#tellNode(nodeid, this.#attr, attributes, contents);
  }

  /**
   * Tells the client that a name stands for something else than it knows, if so.
   *
   * @param now - A nodeid, ABSENT, or undefined: something that the client does not know.
   */
  #tellMeaning(directory: number, name: string, mask: number, now: number | undefined): boolean {
    const before = this.#view.meaning(directory, name);
    if (before === NOTHING || (before !== undefined && before === now)) return false;
    // Of a name that is new the client can only know that it was absent.
    const isNew = before === ABSENT || (before === undefined && (mask & NAME_EVENTS) === IN_CREATE);
    if (isNew && !this.#settings.cachesAbsence) return false;
    this.#view.tellName(directory, name, NOTHING);
    const known = before !== undefined && before !== ABSENT;
    if (known && now === ABSENT) this.#invalidations?.deleted(directory, before, name);
    else this.#invalidations?.entry(directory, name);
    // It has other names now, and so another count of links and time of change.
    if (known) this.#invalidations?.inode(before, false);
    return true;
  }

  #tellNode(nodeid: number, attr: Attr, attributes: boolean, contents: boolean): void {
    if (this.#view.isEcho(nodeid, attr.ctime, attr.ctimensec, !attributes)) return;
    this.#invalidations?.inode(nodeid, contents && (attr.mode & S_IFMT) === S_IFREG);
  }

  /** Names first: one that is looked up anew brings attributes along. */
  async #invalidateAll(send: Invalidations): Promise<void> {
    this.#view.clear();
    const dropped = await send.now((notifier) => notifier.invalidateAllEntries());
    // Linux before 6.16 keeps its names for as long as it was told to; from now on that is not long.
    if (!dropped) this.#complete = false;
    for (const nodeid of this.#nodes.nodeids()) {
      await send.now((notifier) => notifier.invalidateInode(nodeid));
    }
  }
}
