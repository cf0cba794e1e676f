import {
  EINVAL,
  EISDIR,
  ENODATA,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ESTALE,
  FATTR_CTIME,
  FATTR_GID,
  FATTR_KILL_SUIDGID,
  FATTR_MODE,
  FATTR_SIZE,
  FATTR_UID,
  FUSE_ROOT_ID,
  nameLength,
  O_EXCL,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  writeName,
} from "@supermachine/fuse-protocol";
import type { FsBackend } from "../backend.js";
import type { AttrReply, EntryReply, OpenReply, StatfsReply } from "../reply.js";
import type {
  DirectoryPlusSink,
  DirectorySink,
  RequestContext,
  SetattrRequest,
} from "../request.js";
import { DirectoryListing } from "./directory-listing.js";
import { checkAttributeName, ExtendedAttributes } from "./extended-attributes.js";
import { MemoryFiles } from "./memory-files.js";
import { MemoryNode } from "./memory-node.js";
import { MemoryTree } from "./memory-tree.js";
import { rename } from "./rename.js";

export interface MemoryFsOptions {
  /** How many bytes all files may take together. Default 1 GiB. */
  readonly maxBytes?: number;
  /** How many files, directories and links there may be. Default 1,000,000. */
  readonly maxNodes?: number;
  /** Permission bits and owner of the root directory. Default 0o755, 0, 0. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/**
 * A complete file system in memory, for one session at a time. It checks no permissions: have the
 * kernel do so (`default_permissions`). Locks are left to the kernel too.
 */
export class MemoryFs implements FsBackend {
  readonly features = { killPrivileges: true };
  readonly #tree: MemoryTree;
  readonly #files: MemoryFiles;
  readonly #listings = new Map<number, DirectoryListing>();
  readonly #maxBytes: number;
  readonly #maxNodes: number;
  #lastHandle = 0;

  constructor(options: MemoryFsOptions = {}) {
    this.#maxBytes = options.maxBytes ?? 2 ** 30;
    this.#maxNodes = options.maxNodes ?? 1_000_000;
    const mode = S_IFDIR | (options.mode ?? 0o755);
    const root = new MemoryNode(FUSE_ROOT_ID, mode, options.uid ?? 0, options.gid ?? 0, 0);
    this.#tree = new MemoryTree(root, this.#maxNodes);
    this.#files = new MemoryFiles(this.#tree, this.#maxBytes);
  }

  /** Bytes that files and extended attributes take. */
  get bytes(): number {
    return this.#tree.bytes;
  }

  /** Files, directories and links, those without a name but still in use included. */
  get nodes(): number {
    return this.#tree.size;
  }

  destroy(): void {
    this.#listings.clear();
    this.#tree.dropAllUnused();
  }

  // --- nodes and names

  /** Counts the delivery of a node; hands on a negated errno. */
  #deliver(found: MemoryNode | number, reply: EntryReply): number {
    if (typeof found === "number") return found;
    found.lookups++;
    reply.nodeid = found.id;
    found.fill(reply.attr);
    return 0;
  }

  lookup(_ctx: RequestContext, parent: number, name: string, reply: EntryReply): number {
    return this.#deliver(this.#tree.child(parent, name) ?? -ENOENT, reply);
  }

  forget(nodeid: number, count: number): void {
    const node = this.#tree.node(nodeid);
    if (node === undefined) return;
    node.lookups = Math.max(0, node.lookups - count);
    this.#tree.dropIfUnused(node);
  }

  mknod(
    ctx: RequestContext,
    parent: number,
    name: string,
    mode: number,
    rdev: number,
    _umask: number,
    reply: EntryReply,
  ): number {
    if ((mode & S_IFMT) === S_IFDIR || (mode & S_IFMT) === S_IFLNK) return -EINVAL;
    return this.#deliver(this.#tree.make(ctx, parent, name, mode, rdev), reply);
  }

  mkdir(
    ctx: RequestContext,
    parent: number,
    name: string,
    mode: number,
    _umask: number,
    reply: EntryReply,
  ): number {
    const type = S_IFDIR | (mode & 0o7777);
    return this.#deliver(this.#tree.make(ctx, parent, name, type), reply);
  }

  symlink(
    ctx: RequestContext,
    parent: number,
    name: string,
    target: string,
    reply: EntryReply,
  ): number {
    const type = S_IFLNK | 0o777;
    return this.#deliver(this.#tree.make(ctx, parent, name, type, 0, target), reply);
  }

  readlink(_ctx: RequestContext, nodeid: number, target: Uint8Array): number {
    const text = this.#tree.node(nodeid)?.target;
    if (text === undefined) return -EINVAL;
    return nameLength(text) > target.length ? -EINVAL : writeName(text, target);
  }

  link(
    _ctx: RequestContext,
    nodeid: number,
    newParent: number,
    newName: string,
    reply: EntryReply,
  ): number {
    return this.#deliver(this.#tree.link(nodeid, newParent, newName), reply);
  }

  unlink(_ctx: RequestContext, parent: number, name: string): number {
    return this.#tree.unlink(parent, name);
  }

  rmdir(_ctx: RequestContext, parent: number, name: string): number {
    return this.#tree.rmdir(parent, name);
  }

  rename(
    ctx: RequestContext,
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags: number,
  ): number {
    return rename(this.#tree, ctx, parent, name, newParent, newName, flags);
  }

  // --- attributes

  getattr(_ctx: RequestContext, nodeid: number, _fh: number | undefined, reply: AttrReply): number {
    const node = this.#tree.node(nodeid);
    if (node === undefined) return -ESTALE;
    node.fill(reply.attr);
    return 0;
  }

  setattr(
    ctx: RequestContext,
    nodeid: number,
    _fh: number | undefined,
    request: SetattrRequest,
    reply: AttrReply,
  ): number {
    const node = this.#tree.node(nodeid);
    if (node === undefined) return -ESTALE;
    const { valid } = request;
    // With the writeback cache the client gives its own time of change.
    if ((valid & ~FATTR_CTIME) === 0) {
      const refusal = this.#files.changeNothing(ctx, node);
      if (refusal < 0) return refusal;
    }
    if ((valid & FATTR_SIZE) !== 0) {
      if (node.content === undefined) return node.children === undefined ? -EINVAL : -EISDIR;
      this.#files.truncate(node, request.size);
    }
    if ((valid & (FATTR_UID | FATTR_GID)) !== 0 || (valid & FATTR_KILL_SUIDGID) !== 0) {
      this.#files.dropPrivileges(ctx, node);
    }
    if ((valid & FATTR_UID) !== 0) node.uid = request.uid;
    if ((valid & FATTR_GID) !== 0) node.gid = request.gid;
    if ((valid & FATTR_MODE) !== 0) node.mode = (node.mode & S_IFMT) | (request.mode & 0o7777);
    node.touchAttributes();
    node.setTimes(request);
    node.fill(reply.attr);
    return 0;
  }

  statfs(_ctx: RequestContext, _nodeid: number, reply: StatfsReply): number {
    reply.blocks = Math.floor(this.#maxBytes / reply.frsize);
    reply.bfree = Math.max(0, Math.floor((this.#maxBytes - this.#tree.bytes) / reply.frsize));
    reply.bavail = reply.bfree;
    reply.files = this.#maxNodes;
    reply.ffree = Math.max(0, this.#maxNodes - this.#tree.size);
    return 0;
  }

  // --- files

  open(
    ctx: RequestContext,
    nodeid: number,
    flags: number,
    _reply: OpenReply,
    openFlags: number,
  ): number {
    const node = this.#tree.node(nodeid);
    if (node === undefined) return -ESTALE;
    if (node.children !== undefined) return -EISDIR;
    this.#files.open(ctx, node, flags, openFlags);
    return 0;
  }

  create(
    ctx: RequestContext,
    parent: number,
    name: string,
    mode: number,
    _umask: number,
    flags: number,
    reply: EntryReply,
    _opened: OpenReply,
    openFlags: number,
  ): number {
    const existing = this.#tree.child(parent, name);
    // The client may have looked before somebody else made it.
    if (existing !== undefined && (flags & O_EXCL) === 0) {
      if (existing.children !== undefined) return -EISDIR;
      this.#files.open(ctx, existing, flags, openFlags);
      return this.#deliver(existing, reply);
    }
    const node = this.#tree.make(ctx, parent, name, S_IFREG | (mode & 0o7777));
    // What is new has nothing to cut off, and keeps the set-id bits that it was made with.
    if (typeof node !== "number") node.opens++;
    return this.#deliver(node, reply);
  }

  tmpfile(
    ctx: RequestContext,
    parent: number,
    mode: number,
    _umask: number,
    _flags: number,
    reply: EntryReply,
  ): number {
    const directory = this.#tree.directory(parent);
    if (directory === undefined) return -ENOTDIR;
    const node = this.#tree.add(ctx, directory, S_IFREG | (mode & 0o7777), 0);
    if (node === undefined) return -ENOSPC;
    node.nlink = 0;
    node.opens = 1;
    return this.#deliver(node, reply);
  }

  release(_ctx: RequestContext, nodeid: number): number {
    const node = this.#tree.node(nodeid);
    if (node === undefined) return 0;
    node.opens = Math.max(0, node.opens - 1);
    this.#tree.dropIfUnused(node);
    return 0;
  }

  read(
    _ctx: RequestContext,
    nodeid: number,
    _fh: number,
    offset: number,
    buffers: readonly Uint8Array[],
  ): number {
    return this.#files.read(nodeid, offset, buffers);
  }

  write(
    ctx: RequestContext,
    nodeid: number,
    _fh: number,
    offset: number,
    buffers: readonly Uint8Array[],
    writeFlags: number,
  ): number {
    return this.#files.write(ctx, nodeid, offset, buffers, writeFlags);
  }

  /** Everything is in memory: there is nothing to write out. */
  flush(): number {
    return 0;
  }

  fsync(): number {
    return 0;
  }

  fallocate(
    ctx: RequestContext,
    nodeid: number,
    _fh: number,
    mode: number,
    offset: number,
    length: number,
  ): number {
    return this.#files.allocate(ctx, nodeid, mode, offset, length);
  }

  lseek(_ctx: RequestContext, nodeid: number, _fh: number, offset: number, whence: number): number {
    return this.#files.seek(nodeid, offset, whence);
  }

  // --- directories

  opendir(_ctx: RequestContext, nodeid: number, _flags: number, reply: OpenReply): number {
    const node = this.#tree.directory(nodeid);
    if (node === undefined) return -ENOTDIR;
    node.opens++;
    reply.fh = ++this.#lastHandle;
    this.#listings.set(reply.fh, new DirectoryListing(node));
    return 0;
  }

  releasedir(ctx: RequestContext, nodeid: number, fh: number): number {
    this.#listings.delete(fh);
    return this.release(ctx, nodeid);
  }

  fsyncdir(): number {
    return 0;
  }

  readdir(
    _ctx: RequestContext,
    _nodeid: number,
    fh: number,
    offset: number,
    sink: DirectorySink,
  ): number {
    const listing = this.#listings.get(fh);
    if (listing === undefined) return -EINVAL;
    listing.from(offset, (name, node, cookie) =>
      sink.add(name, node.id, (node.mode & S_IFMT) >> 12, cookie),
    );
    return 0;
  }

  readdirplus(
    _ctx: RequestContext,
    _nodeid: number,
    fh: number,
    offset: number,
    sink: DirectoryPlusSink,
  ): number {
    const listing = this.#listings.get(fh);
    if (listing === undefined) return -EINVAL;
    listing.from(offset, (name, node, cookie) => {
      const isDot = name === "." || name === "..";
      node.fill(sink.entry.attr);
      if (!isDot) sink.entry.nodeid = node.id;
      const added = sink.add(name, cookie);
      if (added && !isDot) node.lookups++;
      return added;
    });
    return 0;
  }

  // --- extended attributes

  setxattr(
    _ctx: RequestContext,
    nodeid: number,
    name: string,
    value: Uint8Array,
    flags: number,
  ): number {
    const node = this.#tree.node(nodeid);
    if (node === undefined) return -ESTALE;
    const invalid = checkAttributeName(name);
    if (invalid < 0) return invalid;
    if (this.#files.lacks(name.length + value.length)) return -ENOSPC;
    node.xattrs ??= new ExtendedAttributes();
    return this.#changeXattrs(node, node.xattrs.bytes, node.xattrs.set(name, value, flags));
  }

  getxattr(_ctx: RequestContext, nodeid: number, name: string, value: Uint8Array): number {
    return this.#tree.node(nodeid)?.xattrs?.get(name, value) ?? -ENODATA;
  }

  listxattr(_ctx: RequestContext, nodeid: number, list: Uint8Array): number {
    return this.#tree.node(nodeid)?.xattrs?.list(list) ?? 0;
  }

  removexattr(_ctx: RequestContext, nodeid: number, name: string): number {
    const node = this.#tree.node(nodeid);
    if (node?.xattrs === undefined) return -ENODATA;
    return this.#changeXattrs(node, node.xattrs.bytes, node.xattrs.remove(name));
  }

  #changeXattrs(node: MemoryNode, before: number, result: number): number {
    this.#tree.bytes += (node.xattrs?.bytes ?? 0) - before;
    if (result === 0) node.touchAttributes();
    return result;
  }
}
