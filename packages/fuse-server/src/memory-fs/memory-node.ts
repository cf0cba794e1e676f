import {
  FATTR_ATIME,
  FATTR_ATIME_NOW,
  FATTR_CTIME,
  FATTR_MTIME,
  FATTR_MTIME_NOW,
  nameLength,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  S_ISUID,
} from "@supermachine/fuse-protocol";
import type { Attr } from "../reply.js";
import type { RequestContext, SetattrRequest } from "../request.js";
import type { ExtendedAttributes } from "./extended-attributes.js";
import { SparseContent } from "./sparse-content.js";

const S_IXGRP = 0o010;

/** A name in a directory. */
export interface DirectoryEntry {
  node: MemoryNode;
  /** Where a listing continues after it; grows with each name added, so listings can resume. */
  readonly cookie: number;
}

/** Cookies of `.` and `..`; names come after. */
export const DOT_COOKIE = 1;
export const DOT_DOT_COOKIE = 2;

/** A file, directory, symbolic link or special file. */
export class MemoryNode {
  readonly id: number;
  /** File type and permission bits. */
  mode: number;
  uid: number;
  gid: number;
  readonly rdev: number;
  nlink: number;
  /** Milliseconds since the epoch. */
  atime: number;
  mtime: number;
  ctime: number;
  /** Nanoseconds of the millisecond, where a client set the time exactly. */
  atimeRest = 0;
  mtimeRest = 0;
  xattrs: ExtendedAttributes | undefined;
  /** Of a regular file. */
  readonly content: SparseContent | undefined;
  /** Of a directory, in the order of their cookies. */
  readonly children: Map<string, DirectoryEntry> | undefined;
  /** Of a directory: the one that `..` leads to. */
  parent: MemoryNode | undefined;
  /** Of a symbolic link, decoded like a name. */
  readonly target: string | undefined;
  /** How often the client was given this node and has not forgotten it. */
  lookups = 0;
  /** Open handles. */
  opens = 0;
  #lastCookie = DOT_DOT_COOKIE;

  constructor(id: number, mode: number, uid: number, gid: number, rdev: number, target?: string) {
    this.id = id;
    this.mode = mode;
    this.uid = uid;
    this.gid = gid;
    this.rdev = rdev;
    this.target = target;
    const type = mode & S_IFMT;
    this.content = type === S_IFREG ? new SparseContent() : undefined;
    this.children = type === S_IFDIR ? new Map() : undefined;
    this.nlink = type === S_IFDIR ? 2 : 1;
    const now = Date.now();
    this.atime = now;
    this.mtime = now;
    this.ctime = now;
  }

  /** Adds a name to this directory. */
  addEntry(name: string, node: MemoryNode): void {
    this.#lastCookie++;
    this.children?.set(name, { node, cookie: this.#lastCookie });
    this.#adopt(node);
    this.touchContent();
  }

  /** Takes a name out of this directory. */
  removeEntry(name: string): void {
    const entry = this.children?.get(name);
    if (entry === undefined) return;
    this.children?.delete(name);
    if (entry.node.children !== undefined) this.nlink--;
    this.touchContent();
  }

  /** Makes an existing name lead to another node, at the same place of the listing. */
  replaceEntry(name: string, node: MemoryNode): void {
    const entry = this.children?.get(name);
    if (entry === undefined) return;
    if (entry.node.children !== undefined) this.nlink--;
    entry.node = node;
    this.#adopt(node);
    this.touchContent();
  }

  #adopt(node: MemoryNode): void {
    if (node.children === undefined) return;
    node.parent = this;
    this.nlink++;
  }

  /** Bytes of memory of the content and the extended attributes. */
  get bytes(): number {
    return (this.content?.allocated ?? 0) + (this.xattrs?.bytes ?? 0);
  }

  touchContent(): void {
    this.mtime = Date.now();
    this.mtimeRest = 0;
    this.ctime = this.mtime;
  }

  touchAttributes(): void {
    this.ctime = Date.now();
  }

  /**
   * The mode after a write, truncate or chown of `caller`. Where the group may not execute, members of the
   * group and root keep its set-id bit; of the caller's groups only the first is known.
   */
  modeWithoutPrivileges({ uid, gid }: Pick<RequestContext, "uid" | "gid">): number {
    if (this.children !== undefined) return this.mode;
    const keepsGroup = (this.mode & S_IXGRP) === 0 && (uid === 0 || gid === this.gid);
    return this.mode & ~S_ISUID & (keepsGroup ? ~0 : ~S_ISGID);
  }

  /** The times of a setattr, after its other changes. */
  setTimes(request: SetattrRequest): void {
    const { valid } = request;
    if ((valid & FATTR_ATIME_NOW) !== 0) {
      this.atime = this.ctime;
      this.atimeRest = 0;
    } else if ((valid & FATTR_ATIME) !== 0) {
      this.atimeRest = request.atimensec % 1_000_000;
      this.atime = request.atime * 1000 + (request.atimensec - this.atimeRest) / 1_000_000;
    }
    if ((valid & FATTR_MTIME_NOW) !== 0) {
      this.mtime = this.ctime;
      this.mtimeRest = 0;
    } else if ((valid & FATTR_MTIME) !== 0) {
      this.mtimeRest = request.mtimensec % 1_000_000;
      this.mtime = request.mtime * 1000 + (request.mtimensec - this.mtimeRest) / 1_000_000;
    }
    // Only a kernel with its own cache of times (FUSE_WRITEBACK_CACHE) sends this one.
    if ((valid & FATTR_CTIME) !== 0) {
      this.ctime = request.ctime * 1000 + Math.floor(request.ctimensec / 1_000_000);
    }
  }

  fill(attr: Attr): void {
    attr.ino = this.id;
    attr.size = this.content?.size ?? (this.target === undefined ? 0 : nameLength(this.target));
    attr.blocks = Math.ceil((this.content?.allocated ?? 0) / 512);
    attr.atime = Math.floor(this.atime / 1000);
    attr.mtime = Math.floor(this.mtime / 1000);
    attr.ctime = Math.floor(this.ctime / 1000);
    attr.atimensec = (this.atime - attr.atime * 1000) * 1_000_000 + this.atimeRest;
    attr.mtimensec = (this.mtime - attr.mtime * 1000) * 1_000_000 + this.mtimeRest;
    attr.ctimensec = (this.ctime - attr.ctime * 1000) * 1_000_000;
    attr.mode = this.mode;
    attr.nlink = this.nlink;
    attr.uid = this.uid;
    attr.gid = this.gid;
    attr.rdev = this.rdev;
    attr.blksize = 4096;
  }
}
