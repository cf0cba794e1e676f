import {
  EEXIST,
  EFBIG,
  EINVAL,
  EISDIR,
  ENODATA,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ENOTEMPTY,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
  ESTALE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  FATTR_GID,
  FATTR_KILL_SUIDGID,
  FATTR_MODE,
  FATTR_SIZE,
  FATTR_UID,
  FUSE_OPEN_KILL_SUIDGID,
  FUSE_ROOT_ID,
  FUSE_WRITE_KILL_SUIDGID,
  nameLength,
  O_TRUNC,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  SEEK_DATA,
  SEEK_HOLE,
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
import { totalLength } from "../scatter.js";
import { DirectoryListing } from "./directory-listing.js";
import { ExtendedAttributes } from "./extended-attributes.js";
import { MemoryNode } from "./memory-node.js";
import { MemoryTree } from "./memory-tree.js";
import { SparseContent } from "./sparse-content.js";

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

  #deliver(node: MemoryNode, reply: EntryReply): number {
    node.lookups++;
    reply.nodeid = node.id;
    node.fill(reply.attr);
    return 0;
  }

  #make(
    ctx: RequestContext,
    parent: number,
    name: string,
    mode: number,
    rdev: number,
    reply: EntryReply,
    target?: string,
  ): number {
    const directory = this.#tree.directory(parent);
    if (directory === undefined) return -ENOTDIR;
    if (directory.nlink === 0) return -ENOENT;
    if (directory.children?.has(name)) return -EEXIST;
    const node = this.#tree.add(ctx, directory, mode, rdev, target);
    if (node === undefined) return -ENOSPC;
    directory.addEntry(name, node);
    return this.#deliver(node, reply);
  }

  lookup(_ctx: RequestContext, parent: number, name: string, reply: EntryReply): number {
    const node = this.#tree.child(parent, name);
    return node === undefined ? -ENOENT : this.#deliver(node, reply);
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
    return this.#make(ctx, parent, name, mode, rdev, reply);
  }

  mkdir(
    ctx: RequestContext,
    parent: number,
    name: string,
    mode: number,
    _umask: number,
    reply: EntryReply,
  ): number {
    return this.#make(ctx, parent, name, S_IFDIR | (mode & 0o7777), 0, reply);
  }

  symlink(
    ctx: RequestContext,
    parent: number,
    name: string,
    target: string,
    reply: EntryReply,
  ): number {
    return this.#make(ctx, parent, name, S_IFLNK | 0o777, 0, reply, target);
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
    const node = this.#tree.node(nodeid);
    const directory = this.#tree.directory(newParent);
    if (node === undefined) return -ESTALE;
    if (directory === undefined) return -ENOTDIR;
    if (node.children !== undefined) return -EPERM;
    if (directory.nlink === 0) return -ENOENT;
    if (directory.children?.has(newName)) return -EEXIST;
    node.nlink++;
    node.touchAttributes();
    directory.addEntry(newName, node);
    return this.#deliver(node, reply);
  }

  unlink(_ctx: RequestContext, parent: number, name: string): number {
    const node = this.#tree.child(parent, name);
    if (node === undefined) return -ENOENT;
    if (node.children !== undefined) return -EISDIR;
    this.#tree.node(parent)?.removeEntry(name);
    this.#tree.unlinked(node);
    return 0;
  }

  rmdir(_ctx: RequestContext, parent: number, name: string): number {
    const node = this.#tree.child(parent, name);
    if (node === undefined) return -ENOENT;
    if (node.children === undefined) return -ENOTDIR;
    if (node.children.size > 0) return -ENOTEMPTY;
    this.#tree.node(parent)?.removeEntry(name);
    this.#tree.unlinked(node);
    return 0;
  }

  rename(
    ctx: RequestContext,
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags: number,
  ): number {
    return this.#tree.rename(ctx, parent, name, newParent, newName, flags);
  }

  // --- attributes

  getattr(_ctx: RequestContext, nodeid: number, _fh: number | undefined, reply: AttrReply): number {
    const node = this.#tree.node(nodeid);
    if (node === undefined) return -ESTALE;
    node.fill(reply.attr);
    return 0;
  }

  setattr(
    _ctx: RequestContext,
    nodeid: number,
    _fh: number | undefined,
    request: SetattrRequest,
    reply: AttrReply,
  ): number {
    const node = this.#tree.node(nodeid);
    if (node === undefined) return -ESTALE;
    const { valid } = request;
    if ((valid & FATTR_SIZE) !== 0) {
      if (node.content === undefined) return node.children === undefined ? -EINVAL : -EISDIR;
      this.#truncate(node, request.size);
    }
    if ((valid & (FATTR_UID | FATTR_GID)) !== 0 || (valid & FATTR_KILL_SUIDGID) !== 0) {
      this.#dropPrivileges(node);
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

  #openNode(node: MemoryNode, flags: number, openFlags: number): void {
    if ((flags & O_TRUNC) !== 0 && node.content !== undefined) this.#truncate(node, 0);
    if ((openFlags & FUSE_OPEN_KILL_SUIDGID) !== 0) this.#dropPrivileges(node);
    node.opens++;
  }

  open(
    _ctx: RequestContext,
    nodeid: number,
    flags: number,
    _reply: OpenReply,
    openFlags: number,
  ): number {
    const node = this.#tree.node(nodeid);
    if (node === undefined) return -ESTALE;
    if (node.children !== undefined) return -EISDIR;
    this.#openNode(node, flags, openFlags);
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
    const result = this.#make(ctx, parent, name, S_IFREG | (mode & 0o7777), 0, reply);
    const node = this.#tree.node(reply.nodeid);
    if (result === 0 && node !== undefined) this.#openNode(node, flags, openFlags);
    return result;
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
    const content = this.#tree.node(nodeid)?.content;
    if (content === undefined) return -EINVAL;
    let total = 0;
    for (const buffer of buffers) total += content.read(offset + total, buffer);
    return total;
  }

  write(
    _ctx: RequestContext,
    nodeid: number,
    _fh: number,
    offset: number,
    buffers: readonly Uint8Array[],
    writeFlags: number,
  ): number {
    const node = this.#tree.node(nodeid);
    const content = node?.content;
    if (node === undefined || content === undefined) return -EINVAL;
    const length = totalLength(buffers);
    if (offset + length > Number.MAX_SAFE_INTEGER) return -EFBIG;
    if (this.#lacks(SparseContent.growth(offset, length))) return -ENOSPC;
    const before = content.allocated;
    let total = 0;
    for (const buffer of buffers) {
      content.write(offset + total, buffer);
      total += buffer.length;
    }
    this.#tree.bytes += content.allocated - before;
    if ((writeFlags & FUSE_WRITE_KILL_SUIDGID) !== 0) this.#dropPrivileges(node);
    node.touchContent();
    return total;
  }

  #lacks(bytes: number): boolean {
    return this.#tree.bytes + bytes > this.#maxBytes;
  }

  #dropPrivileges(node: MemoryNode): void {
    const before = node.bytes;
    node.dropPrivileges();
    this.#tree.bytes += node.bytes - before;
  }

  #truncate(node: MemoryNode, size: number): void {
    const before = node.content?.allocated ?? 0;
    node.content?.truncate(size);
    this.#tree.bytes += (node.content?.allocated ?? 0) - before;
    node.touchContent();
  }

  /** Everything is in memory: there is nothing to write out. */
  flush(): number {
    return 0;
  }

  fsync(): number {
    return 0;
  }

  fallocate(
    _ctx: RequestContext,
    nodeid: number,
    _fh: number,
    mode: number,
    offset: number,
    length: number,
  ): number {
    const node = this.#tree.node(nodeid);
    const content = node?.content;
    if (node === undefined || content === undefined) return -EINVAL;
    const known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
    if ((mode & ~known) !== 0) return -EOPNOTSUPP;
    if (offset + length > Number.MAX_SAFE_INTEGER) return -EFBIG;
    const before = content.allocated;
    if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) !== 0) content.punch(offset, length);
    else if (this.#lacks(length)) return -ENOSPC;
    if ((mode & FALLOC_FL_KEEP_SIZE) === 0 && content.size < offset + length) {
      content.truncate(offset + length);
    }
    this.#tree.bytes += content.allocated - before;
    node.touchContent();
    return 0;
  }

  lseek(_ctx: RequestContext, nodeid: number, _fh: number, offset: number, whence: number): number {
    const content = this.#tree.node(nodeid)?.content;
    if (content === undefined) return -EINVAL;
    if (offset < 0 || offset >= content.size) return -ENXIO;
    if (whence === SEEK_DATA) return content.nextData(offset) ?? -ENXIO;
    return whence === SEEK_HOLE ? content.nextHole(offset) : -EINVAL;
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
    if (this.#lacks(name.length + value.length)) return -ENOSPC;
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
