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
  ERANGE,
  ESTALE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  FATTR_ATIME,
  FATTR_ATIME_NOW,
  FATTR_CTIME,
  FATTR_GID,
  FATTR_KILL_SUIDGID,
  FATTR_MODE,
  FATTR_MTIME,
  FATTR_MTIME_NOW,
  FATTR_SIZE,
  FATTR_UID,
  FUSE_OPEN_KILL_SUIDGID,
  FUSE_ROOT_ID,
  FUSE_WRITE_KILL_SUIDGID,
  nameLength,
  O_TRUNC,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  SEEK_DATA,
  SEEK_HOLE,
  writeName,
  XATTR_CREATE,
  XATTR_REPLACE,
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
import { MemoryNode } from "./memory-node.js";
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
  readonly #nodes = new Map<number, MemoryNode>();
  readonly #listings = new Map<number, DirectoryListing>();
  readonly #maxBytes: number;
  readonly #maxNodes: number;
  #lastId = FUSE_ROOT_ID;
  #lastHandle = 0;
  #bytes = 0;

  constructor(options: MemoryFsOptions = {}) {
    this.#maxBytes = options.maxBytes ?? 2 ** 30;
    this.#maxNodes = options.maxNodes ?? 1_000_000;
    const mode = S_IFDIR | (options.mode ?? 0o755);
    const root = new MemoryNode(FUSE_ROOT_ID, mode, options.uid ?? 0, options.gid ?? 0, 0);
    root.parent = root;
    this.#nodes.set(FUSE_ROOT_ID, root);
  }

  /** Bytes that files take. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Files, directories and links, those without a name but still in use included. */
  get nodes(): number {
    return this.#nodes.size;
  }

  destroy(): void {
    this.#listings.clear();
    for (const node of this.#nodes.values()) {
      node.lookups = 0;
      node.opens = 0;
      this.#dropIfUnused(node);
    }
  }

  // --- nodes and names

  #directory(nodeid: number): MemoryNode | undefined {
    const node = this.#nodes.get(nodeid);
    return node?.children === undefined ? undefined : node;
  }

  #child(parent: number, name: string): MemoryNode | undefined {
    return this.#nodes.get(parent)?.children?.get(name)?.node;
  }

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
    const directory = this.#directory(parent);
    if (directory === undefined) return -ENOTDIR;
    if (directory.nlink === 0) return -ENOENT;
    if (directory.children?.has(name)) return -EEXIST;
    const node = this.#newNode(ctx, directory, mode, rdev, target);
    if (node === undefined) return -ENOSPC;
    directory.addEntry(name, node);
    return this.#deliver(node, reply);
  }

  #newNode(
    ctx: RequestContext,
    directory: MemoryNode,
    mode: number,
    rdev: number,
    target?: string,
  ): MemoryNode | undefined {
    if (this.#nodes.size >= this.#maxNodes) return undefined;
    // In a set-group-id directory nodes get its group, and directories the bit (inode(7)).
    const inherits = (directory.mode & S_ISGID) !== 0;
    const inherited = inherits && (mode & S_IFMT) === S_IFDIR ? S_ISGID : 0;
    const gid = inherits ? directory.gid : ctx.gid;
    const node = new MemoryNode(++this.#lastId, mode | inherited, ctx.uid, gid, rdev, target);
    this.#nodes.set(node.id, node);
    return node;
  }

  #unlinkNode(node: MemoryNode): void {
    node.nlink = node.children === undefined ? node.nlink - 1 : 0;
    node.touchAttributes();
    this.#dropIfUnused(node);
  }

  #dropIfUnused(node: MemoryNode): void {
    if (node.nlink > 0 || node.lookups > 0 || node.opens > 0) return;
    this.#bytes -= node.content?.allocated ?? 0;
    this.#nodes.delete(node.id);
  }

  lookup(_ctx: RequestContext, parent: number, name: string, reply: EntryReply): number {
    const node = this.#child(parent, name);
    return node === undefined ? -ENOENT : this.#deliver(node, reply);
  }

  forget(nodeid: number, count: number): void {
    const node = this.#nodes.get(nodeid);
    if (node === undefined) return;
    node.lookups = Math.max(0, node.lookups - count);
    this.#dropIfUnused(node);
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
    const text = this.#nodes.get(nodeid)?.target;
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
    const node = this.#nodes.get(nodeid);
    const directory = this.#directory(newParent);
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
    const node = this.#child(parent, name);
    if (node === undefined) return -ENOENT;
    if (node.children !== undefined) return -EISDIR;
    this.#nodes.get(parent)?.removeEntry(name);
    this.#unlinkNode(node);
    return 0;
  }

  rmdir(_ctx: RequestContext, parent: number, name: string): number {
    const node = this.#child(parent, name);
    if (node === undefined) return -ENOENT;
    if (node.children === undefined) return -ENOTDIR;
    if (node.children.size > 0) return -ENOTEMPTY;
    this.#nodes.get(parent)?.removeEntry(name);
    this.#unlinkNode(node);
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
    const from = this.#directory(parent);
    const to = this.#directory(newParent);
    const node = this.#child(parent, name);
    const replaced = this.#child(newParent, newName);
    if (from === undefined || to === undefined) return -ENOTDIR;
    if (node === undefined || to.nlink === 0) return -ENOENT;
    if (this.#isInside(to, node)) return -EINVAL;
    if ((flags & RENAME_EXCHANGE) !== 0) {
      if (replaced === undefined) return -ENOENT;
      if ((flags & ~RENAME_EXCHANGE) !== 0 || this.#isInside(from, replaced)) return -EINVAL;
      from.replaceEntry(name, replaced);
      to.replaceEntry(newName, node);
      node.touchAttributes();
      replaced.touchAttributes();
      return 0;
    }
    if (replaced === node) return 0;
    if (replaced !== undefined) {
      if ((flags & RENAME_NOREPLACE) !== 0) return -EEXIST;
      if (node.children === undefined && replaced.children !== undefined) return -EISDIR;
      if (node.children !== undefined && replaced.children === undefined) return -ENOTDIR;
      if (replaced.children !== undefined && replaced.children.size > 0) return -ENOTEMPTY;
    }
    if ((flags & RENAME_WHITEOUT) !== 0) {
      const whiteout = this.#newNode(ctx, from, S_IFCHR, 0);
      if (whiteout === undefined) return -ENOSPC;
      from.replaceEntry(name, whiteout);
    } else from.removeEntry(name);
    if (replaced === undefined) to.addEntry(newName, node);
    else {
      to.replaceEntry(newName, node);
      this.#unlinkNode(replaced);
    }
    node.touchAttributes();
    return 0;
  }

  #isInside(directory: MemoryNode, ancestor: MemoryNode): boolean {
    if (ancestor.children === undefined) return false;
    let at: MemoryNode | undefined = directory;
    while (at !== undefined && at !== ancestor && at.id !== FUSE_ROOT_ID) at = at.parent;
    return at === ancestor;
  }

  // --- attributes

  getattr(_ctx: RequestContext, nodeid: number, _fh: number | undefined, reply: AttrReply): number {
    const node = this.#nodes.get(nodeid);
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
    const node = this.#nodes.get(nodeid);
    if (node === undefined) return -ESTALE;
    const { valid } = request;
    if ((valid & FATTR_SIZE) !== 0) {
      if (node.content === undefined) return node.children === undefined ? -EINVAL : -EISDIR;
      this.#truncate(node, request.size);
    }
    if ((valid & (FATTR_UID | FATTR_GID)) !== 0 || (valid & FATTR_KILL_SUIDGID) !== 0) {
      node.dropPrivileges();
    }
    if ((valid & FATTR_UID) !== 0) node.uid = request.uid;
    if ((valid & FATTR_GID) !== 0) node.gid = request.gid;
    if ((valid & FATTR_MODE) !== 0) node.mode = (node.mode & S_IFMT) | (request.mode & 0o7777);
    node.touchAttributes();
    this.#setTimes(node, request);
    node.fill(reply.attr);
    return 0;
  }

  #setTimes(node: MemoryNode, request: SetattrRequest): void {
    const { valid } = request;
    if ((valid & FATTR_ATIME_NOW) !== 0) {
      node.atime = node.ctime;
      node.atimeRest = 0;
    } else if ((valid & FATTR_ATIME) !== 0) {
      node.atimeRest = request.atimensec % 1_000_000;
      node.atime = request.atime * 1000 + (request.atimensec - node.atimeRest) / 1_000_000;
    }
    if ((valid & FATTR_MTIME_NOW) !== 0) {
      node.mtime = node.ctime;
      node.mtimeRest = 0;
    } else if ((valid & FATTR_MTIME) !== 0) {
      node.mtimeRest = request.mtimensec % 1_000_000;
      node.mtime = request.mtime * 1000 + (request.mtimensec - node.mtimeRest) / 1_000_000;
    }
    // Only a kernel with its own cache of times (FUSE_WRITEBACK_CACHE) sends this one.
    if ((valid & FATTR_CTIME) !== 0) {
      node.ctime = request.ctime * 1000 + Math.floor(request.ctimensec / 1_000_000);
    }
  }

  statfs(_ctx: RequestContext, _nodeid: number, reply: StatfsReply): number {
    reply.blocks = Math.floor(this.#maxBytes / reply.frsize);
    reply.bfree = Math.max(0, Math.floor((this.#maxBytes - this.#bytes) / reply.frsize));
    reply.bavail = reply.bfree;
    reply.files = this.#maxNodes;
    reply.ffree = Math.max(0, this.#maxNodes - this.#nodes.size);
    return 0;
  }

  // --- files

  #openNode(node: MemoryNode, flags: number, openFlags: number): void {
    if ((flags & O_TRUNC) !== 0 && node.content !== undefined) this.#truncate(node, 0);
    if ((openFlags & FUSE_OPEN_KILL_SUIDGID) !== 0) node.dropPrivileges();
    node.opens++;
  }

  open(
    _ctx: RequestContext,
    nodeid: number,
    flags: number,
    _reply: OpenReply,
    openFlags: number,
  ): number {
    const node = this.#nodes.get(nodeid);
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
    const node = this.#nodes.get(reply.nodeid);
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
    const directory = this.#directory(parent);
    if (directory === undefined) return -ENOTDIR;
    const node = this.#newNode(ctx, directory, S_IFREG | (mode & 0o7777), 0);
    if (node === undefined) return -ENOSPC;
    node.nlink = 0;
    node.opens = 1;
    return this.#deliver(node, reply);
  }

  release(_ctx: RequestContext, nodeid: number): number {
    const node = this.#nodes.get(nodeid);
    if (node === undefined) return 0;
    node.opens = Math.max(0, node.opens - 1);
    this.#dropIfUnused(node);
    return 0;
  }

  read(
    _ctx: RequestContext,
    nodeid: number,
    _fh: number,
    offset: number,
    buffers: readonly Uint8Array[],
  ): number {
    const content = this.#nodes.get(nodeid)?.content;
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
    const node = this.#nodes.get(nodeid);
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
    this.#bytes += content.allocated - before;
    if ((writeFlags & FUSE_WRITE_KILL_SUIDGID) !== 0) node.dropPrivileges();
    node.touchContent();
    return total;
  }

  #lacks(bytes: number): boolean {
    return this.#bytes + bytes > this.#maxBytes;
  }

  #truncate(node: MemoryNode, size: number): void {
    const before = node.content?.allocated ?? 0;
    node.content?.truncate(size);
    this.#bytes += (node.content?.allocated ?? 0) - before;
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
    const node = this.#nodes.get(nodeid);
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
    this.#bytes += content.allocated - before;
    node.touchContent();
    return 0;
  }

  lseek(_ctx: RequestContext, nodeid: number, _fh: number, offset: number, whence: number): number {
    const content = this.#nodes.get(nodeid)?.content;
    if (content === undefined) return -EINVAL;
    if (offset < 0 || offset >= content.size) return -ENXIO;
    if (whence === SEEK_DATA) return content.nextData(offset) ?? -ENXIO;
    return whence === SEEK_HOLE ? content.nextHole(offset) : -EINVAL;
  }

  // --- directories

  opendir(_ctx: RequestContext, nodeid: number, _flags: number, reply: OpenReply): number {
    const node = this.#directory(nodeid);
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
    const node = this.#nodes.get(nodeid);
    if (node === undefined) return -ESTALE;
    const exists = node.xattrs?.has(name) ?? false;
    if ((flags & XATTR_CREATE) !== 0 && exists) return -EEXIST;
    if ((flags & XATTR_REPLACE) !== 0 && !exists) return -ENODATA;
    if (this.#lacks(value.length)) return -ENOSPC;
    node.xattrs ??= new Map();
    node.xattrs.set(name, Uint8Array.from(value));
    node.touchAttributes();
    return 0;
  }

  getxattr(_ctx: RequestContext, nodeid: number, name: string, value: Uint8Array): number {
    const found = this.#nodes.get(nodeid)?.xattrs?.get(name);
    if (found === undefined) return -ENODATA;
    if (value.length === 0) return found.length;
    if (found.length > value.length) return -ERANGE;
    value.set(found);
    return found.length;
  }

  listxattr(_ctx: RequestContext, nodeid: number, list: Uint8Array): number {
    const names = [...(this.#nodes.get(nodeid)?.xattrs?.keys() ?? [])];
    const length = names.reduce((sum, name) => sum + nameLength(name) + 1, 0);
    if (list.length === 0) return length;
    if (length > list.length) return -ERANGE;
    let at = 0;
    for (const name of names) {
      at += writeName(name, list, at);
      list[at++] = 0;
    }
    return length;
  }

  removexattr(_ctx: RequestContext, nodeid: number, name: string): number {
    const node = this.#nodes.get(nodeid);
    if (node?.xattrs?.delete(name) !== true) return -ENODATA;
    node.touchAttributes();
    return 0;
  }
}
