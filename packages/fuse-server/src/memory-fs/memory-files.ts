import {
  EFBIG,
  EINVAL,
  ENOSPC,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  FUSE_OPEN_KILL_SUIDGID,
  FUSE_WRITE_KILL_SUIDGID,
  O_TRUNC,
  SEEK_DATA,
  SEEK_HOLE,
} from "@supermachine/fuse-protocol";
import type { RequestContext } from "../request.js";
import { totalLength } from "../scatter.js";
import type { MemoryNode } from "./memory-node.js";
import type { MemoryTree } from "./memory-tree.js";
import { SparseContent } from "./sparse-content.js";

/** What can be done with the contents of files, within a number of bytes for all together. */
export class MemoryFiles {
  readonly #tree: MemoryTree;
  readonly #maxBytes: number;

  constructor(tree: MemoryTree, maxBytes: number) {
    this.#tree = tree;
    this.#maxBytes = maxBytes;
  }

  /** Whether there is no room for so many bytes more. */
  lacks(bytes: number): boolean {
    return this.#tree.bytes + bytes > this.#maxBytes;
  }

  open(ctx: RequestContext, node: MemoryNode, flags: number, openFlags: number): void {
    if ((flags & O_TRUNC) !== 0 && node.content !== undefined) this.truncate(node, 0);
    if ((openFlags & FUSE_OPEN_KILL_SUIDGID) !== 0) this.dropPrivileges(ctx, node);
    node.opens++;
  }

  read(nodeid: number, offset: number, buffers: readonly Uint8Array[]): number {
    const content = this.#tree.node(nodeid)?.content;
    if (content === undefined) return -EINVAL;
    let total = 0;
    for (const buffer of buffers) total += content.read(offset + total, buffer);
    return total;
  }

  write(
    ctx: RequestContext,
    nodeid: number,
    offset: number,
    buffers: readonly Uint8Array[],
    writeFlags: number,
  ): number {
    const node = this.#tree.node(nodeid);
    const content = node?.content;
    if (node === undefined || content === undefined) return -EINVAL;
    const length = totalLength(buffers);
    if (offset + length > Number.MAX_SAFE_INTEGER) return -EFBIG;
    if (this.lacks(SparseContent.growth(offset, length))) return -ENOSPC;
    const before = content.allocated;
    let total = 0;
    for (const buffer of buffers) {
      content.write(offset + total, buffer);
      total += buffer.length;
    }
    this.#tree.bytes += content.allocated - before;
    if ((writeFlags & FUSE_WRITE_KILL_SUIDGID) !== 0) this.dropPrivileges(ctx, node);
    node.touchContent();
    return total;
  }

  /** What a write, truncate or chown by an unprivileged caller takes away from a program. */
  dropPrivileges(ctx: RequestContext, node: MemoryNode): void {
    const before = node.bytes;
    node.mode = node.modeWithoutPrivileges(ctx);
    if (node.children === undefined) node.xattrs?.remove("security.capability");
    this.#tree.bytes += node.bytes - before;
  }

  /**
   * What Linux sends for chown(2) with two times -1, and before a write of somebody without privilege: set-id
   * bits go. Somebody else's may be taken by whoever has the file open, and by nobody else.
   */
  changeNothing(ctx: RequestContext, node: MemoryNode): number {
    const isAllowed = ctx.uid === 0 || ctx.uid === node.uid || node.opens > 0;
    if (!isAllowed && node.mode !== node.modeWithoutPrivileges(ctx)) return -EPERM;
    this.dropPrivileges(ctx, node);
    return 0;
  }

  truncate(node: MemoryNode, size: number): void {
    const before = node.content?.allocated ?? 0;
    node.content?.truncate(size);
    this.#tree.bytes += (node.content?.allocated ?? 0) - before;
    node.touchContent();
  }

  /** fallocate(2). It reserves nothing. The request has no mark as writes have for one without privilege. */
  allocate(
    ctx: RequestContext,
    nodeid: number,
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
    else if (this.lacks(length)) return -ENOSPC;
    if ((mode & FALLOC_FL_KEEP_SIZE) === 0 && content.size < offset + length) {
      content.truncate(offset + length);
    }
    this.#tree.bytes += content.allocated - before;
    if (ctx.uid !== 0) this.dropPrivileges(ctx, node);
    node.touchContent();
    return 0;
  }

  /** lseek(2) with `SEEK_DATA` and `SEEK_HOLE`. */
  seek(nodeid: number, offset: number, whence: number): number {
    const content = this.#tree.node(nodeid)?.content;
    if (content === undefined) return -EINVAL;
    if (offset < 0 || offset >= content.size) return -ENXIO;
    if (whence === SEEK_DATA) return content.nextData(offset) ?? -ENXIO;
    return whence === SEEK_HOLE ? content.nextHole(offset) : -EINVAL;
  }
}
