import { ENOENT, errnoName, S_IFMT, S_IFREG } from "@supermachine/fuse-protocol";
import { Attr, type Notifier } from "@supermachine/fuse-server";
import { type Watch, watchReadable } from "@supermachine-internal/libc";
import { PosixBackendError } from "../error.js";
import { StatBuffer } from "../nodes/stat-buffer.js";
import { NameBuffer } from "../operations/name-buffer.js";
import { close, isPortable } from "../platform/host.js";
import { ABSENT, type ClientView, NOTHING } from "./client-view.js";
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
  NAME_EVENTS,
  parseEvents,
  readEvents,
  removeWatch,
} from "./inotify.js";
import { Invalidations } from "./invalidations.js";
import type { WatchedNodes, WatchRegistry } from "./watch-recorder.js";

/** How long events are collected, in milliseconds: many changes of one file are told as one. */
const COLLECT_MS = 10;
/** Names with events that are collected; with more, the client is told to forget everything. */
const MAX_COLLECTED = 32_768;
/** How long to wait for word of a watch, in milliseconds, and for how many. */
const EARLY_MS = 1000;
const MAX_EARLY = 1024;
const EVENT_BYTES = 65_536;
/** Reads per turn of the event loop. */
const READS = 16;

export interface WatcherSettings {
  /** The client may cache that there is no file of some name. */
  readonly cachesAbsence: boolean;
  /** Names may stand for files in directories that the client has not come through. */
  readonly followsLinks: boolean;
}

/**
 * Watches every directory that the client knows with inotify(7), and notifies the client of what the
 * host changes in them.
 *
 * Events only say where to look: what is told follows from how the host is then and what the client was told
 * before ({@link ClientView}). A name is dropped only when it stands for something else, never because contents
 * or attributes changed: dropping it would take down what the client has mounted on it.
 */
export class PosixWatcher implements WatchRegistry, Disposable {
  readonly fd: number;
  readonly #nodes: WatchedNodes;
  readonly #view: ClientView;
  readonly #settings: WatcherSettings;
  readonly #watch: Watch;
  readonly #directories = new Map<number, number>();
  readonly #wds = new Map<number, number>();
  /** For each wd, names and the union of their events. An empty name is the directory itself. */
  #collected = new Map<number, Map<string, number>>();
  #collectedNames = 0;
  /** Nodes that the client is to be told of, and whether their contents changed. */
  readonly #changed = new Map<number, boolean>();
  #timer: NodeJS.Timeout | undefined;
  /** Events of watches that another thread has added, but of which this one has not heard yet. */
  readonly #early = new Map<number, Map<string, number>>();
  #earlyTimer: NodeJS.Timeout | undefined;
  #notifier: Notifier | undefined;
  #invalidations: Invalidations | undefined;
  readonly #bytes = Buffer.allocUnsafeSlow(EVENT_BYTES);
  readonly #stat = new StatBuffer();
  readonly #attr = new Attr();
  readonly #name = new NameBuffer();
  #open = true;

  /** @throws `PosixBackendError` `ERR_POSIX_WATCH` when there is no inotify instance to be had. */
  constructor(nodes: WatchedNodes, view: ClientView, settings: WatcherSettings) {
    this.#nodes = nodes;
    this.#view = view;
    this.#settings = settings;
    if (isPortable) {
      throw new PosixBackendError(
        "ERR_POSIX_WATCH",
        "watching for changes needs inotify of Linux; leave the option out",
      );
    }
    this.fd = inotifyInit();
    if (this.fd < 0) {
      throw new PosixBackendError(
        "ERR_POSIX_WATCH",
        `cannot watch for changes: inotify_init1 gives ${errnoName(this.fd)}; raise fs.inotify.max_user_instances`,
      );
    }
    this.#watch = watchReadable(this.fd, () => this.#read());
    this.#watch.unref();
  }

  get active(): boolean {
    return this.#invalidations !== undefined;
  }

  attach(notifier: Notifier): void {
    this.#notifier = notifier;
  }

  start(): void {
    this.stop();
    if (this.#notifier === undefined) return;
    this.#view.complete = !this.#settings.followsLinks;
    this.#invalidations = new Invalidations(this.#notifier, (send) => this.#invalidateAll(send));
  }

  stop(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#earlyTimer);
    this.#timer = undefined;
    this.#earlyTimer = undefined;
    this.#early.clear();
    this.#invalidations?.close();
    this.#invalidations = undefined;
    for (const wd of this.#wds.keys()) removeWatch(this.fd, wd);
    this.#wds.clear();
    this.#directories.clear();
    this.#collected.clear();
    this.#collectedNames = 0;
    this.#view.clear();
    this.#view.complete = false;
    this.#view.watches = 0;
  }

  watched(nodeid: number, wd: number): void {
    if (this.#nodes.fd(nodeid) < 0) {
      // Forgotten on another thread, before this one heard of the watch.
      if (!this.#wds.has(wd)) removeWatch(this.fd, wd);
      return;
    }
    this.#directories.set(nodeid, wd);
    this.#wds.set(wd, nodeid);
    this.#view.watches = this.#wds.size;
    const early = this.#early.get(wd);
    if (early === undefined) return;
    this.#early.delete(wd);
    this.#tellDirectory(nodeid, early);
    this.#sendChanged();
  }

  forgotten(nodeid: number): void {
    const wd = this.#directories.get(nodeid);
    if (wd === undefined) return;
    this.#directories.delete(nodeid);
    // Two nodes share a watch where links are followed to one directory.
    if (this.#wds.get(wd) !== nodeid) return;
    this.#wds.delete(wd);
    this.#view.watches = this.#wds.size;
    removeWatch(this.fd, wd);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.stop();
    this.#watch.close();
    close(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #read(): void {
    for (let reads = 0; reads < READS; reads++) {
      const length = readEvents(this.fd, this.#bytes);
      if (length <= 0) break;
      const whole = parseEvents(this.#bytes.subarray(0, length), (wd, mask, name) =>
        this.#collect(wd, mask, name),
      );
      if (!whole) this.#lost();
    }
    if (this.#collected.size > 0) this.#timer ??= setTimeout(() => this.#tell(), COLLECT_MS);
  }

  #collect(wd: number, mask: number, name: string): void {
    if ((mask & IN_Q_OVERFLOW) !== 0) this.#lost();
    else if ((mask & IN_IGNORED) !== 0) this.#ended(wd);
    else {
      const names = this.#collected.get(wd) ?? new Map<string, number>();
      const before = names.get(name);
      names.set(name, (before ?? 0) | mask);
      this.#collected.set(wd, names);
      if (before === undefined && ++this.#collectedNames > MAX_COLLECTED) this.#lost();
    }
  }

  /** The directory is gone, or the file system that it was on; or the watch was removed here. */
  #ended(wd: number): void {
    const nodeid = this.#wds.get(wd);
    if (nodeid === undefined) return;
    this.#wds.delete(wd);
    this.#directories.delete(nodeid);
    this.#view.watches = this.#wds.size;
  }

  /** Events are lost, or too many to look at each. */
  #lost(): void {
    this.#collected.clear();
    this.#collectedNames = 0;
    this.#invalidations?.everything();
  }

  #tell(): void {
    this.#timer = undefined;
    const collected = this.#collected;
    this.#collected = new Map();
    this.#collectedNames = 0;
    for (const [wd, names] of collected) {
      const directory = this.#wds.get(wd);
      if (directory !== undefined) this.#tellDirectory(directory, names);
      else this.#keepEarly(wd, names);
    }
    this.#sendChanged();
  }

  #keepEarly(wd: number, names: Map<string, number>): void {
    if (this.#early.size >= MAX_EARLY) this.#early.clear();
    this.#early.set(wd, names);
    // Most are of watches that are gone.
    this.#earlyTimer ??= setTimeout(() => {
      this.#earlyTimer = undefined;
      this.#early.clear();
    }, EARLY_MS).unref();
  }

  #sendChanged(): void {
    for (const [nodeid, contents] of this.#changed) this.#invalidations?.inode(nodeid, contents);
    this.#changed.clear();
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
    const fd = this.#nodes.fd(directory);
    if (fd >= 0 && this.#stat.read(fd) === 0) this.#tellNode(directory, attributesChanged, false);
  }

  #tellName(directory: number, name: string, mask: number): void {
    const fd = this.#nodes.fd(directory);
    if (fd < 0 || this.#name.set(name) < 0) return;
    const failure = this.#stat.readName(fd, this.#name.bytes);
    const nodeid = failure === 0 ? this.#nodes.find(this.#stat) : undefined;
    const now = failure === -ENOENT ? ABSENT : nodeid;
    const fits = (mask & NAME_EVENTS) === 0 || this.#tellMeaning(directory, name, mask, now);
    if (nodeid === undefined) return;
    // What another name brought here may have been written to where nobody watches.
    const contents = (mask & IN_MODIFY) !== 0 || (!fits && (mask & IN_MOVED_TO) !== 0);
    const attributes =
      (mask & IN_ATTRIB) !== 0 || (!fits && (mask & (IN_CREATE | IN_MOVED_TO)) !== 0);
    if (contents || attributes) this.#tellNode(nodeid, attributes, contents);
  }

  /**
   * Tells the client that a name stands for something else than it knows, if so. True when it knows.
   *
   * @param now - A nodeid, ABSENT, or undefined: something that the client does not know.
   */
  #tellMeaning(directory: number, name: string, mask: number, now: number | undefined): boolean {
    const before = this.#view.meaning(directory, name);
    if (before === NOTHING) return false;
    if (before !== undefined && before === now) {
      // A file that was made after another one was removed may have got its inode number.
      const maybeReused = (mask & IN_DELETE) !== 0 && now !== ABSENT;
      if (maybeReused) this.#invalidations?.entry(directory, name, true);
      return !maybeReused;
    }
    // Of a name that is new the client can only know that it was absent.
    const isNew = before === ABSENT || (before === undefined && (mask & NAME_EVENTS) === IN_CREATE);
    if (isNew && !this.#settings.cachesAbsence) return false;
    this.#view.tellName(directory, name, NOTHING);
    if (before === undefined || before === ABSENT) {
      // Looked up again, what turns out to be the same stays, and so does what is mounted on it.
      this.#invalidations?.entry(directory, name, before === undefined);
      return false;
    }
    // The notification of a removal declares the node dead, which one that has moved is not.
    const removed = now === ABSENT && (mask & (IN_DELETE | IN_MOVED_FROM)) === IN_DELETE;
    if (removed) this.#invalidations?.deleted(directory, before, name);
    else this.#invalidations?.entry(directory, name, false);
    // It has other names now, and so another count of links and time of change.
    this.#addChanged(before, false);
    return false;
  }

  /** The node whose attributes are in `#stat` has other attributes or contents. */
  #tellNode(nodeid: number, attributes: boolean, contents: boolean): void {
    this.#stat.copyTo(this.#attr);
    const { ctime, ctimensec, mode } = this.#attr;
    const echo = this.#view.echo(nodeid, ctime, ctimensec);
    if (echo === "seen" || (echo === "asks" && !attributes)) return;
    const drop = contents && echo === "none" && (mode & S_IFMT) === S_IFREG;
    this.#addChanged(nodeid, drop);
  }

  /** A directory's own events come through its parent, too. */
  #addChanged(nodeid: number, contents: boolean): void {
    this.#changed.set(nodeid, contents || this.#changed.get(nodeid) === true);
  }

  /** Names first: one that is looked up anew brings attributes along. */
  async #invalidateAll(send: Invalidations): Promise<void> {
    this.#view.clear();
    const dropped = await send.now((notifier) => notifier.invalidateAllEntries());
    // Linux before 6.16 keeps its names for as long as it was told to; from now on that is not long.
    if (!dropped) this.#view.complete = false;
    for (const nodeid of this.#nodes.nodeids()) {
      await send.now((notifier) => notifier.invalidateInode(nodeid));
    }
  }
}
