import {
  EEXIST,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ENOTEMPTY,
  FUSE_ROOT_ID,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
  S_ISGID,
} from "@supermachine/fuse-protocol";
import type { RequestContext } from "../request.js";
import { MemoryNode } from "./memory-node.js";

/** All nodes, and the names that lead to them. */
export class MemoryTree {
  readonly #nodes = new Map<number, MemoryNode>();
  readonly #maxNodes: number;
  #lastId = FUSE_ROOT_ID;
  /** Bytes that files and extended attributes take. */
  bytes = 0;

  constructor(root: MemoryNode, maxNodes: number) {
    this.#maxNodes = maxNodes;
    root.parent = root;
    this.#nodes.set(root.id, root);
  }

  get size(): number {
    return this.#nodes.size;
  }

  node(nodeid: number): MemoryNode | undefined {
    return this.#nodes.get(nodeid);
  }

  directory(nodeid: number): MemoryNode | undefined {
    const node = this.#nodes.get(nodeid);
    return node?.children === undefined ? undefined : node;
  }

  child(parent: number, name: string): MemoryNode | undefined {
    return this.#nodes.get(parent)?.children?.get(name)?.node;
  }

  /** A node without a name yet; undefined when there are too many. */
  add(
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

  /** A node has lost a name. */
  unlinked(node: MemoryNode): void {
    node.nlink = node.children === undefined ? node.nlink - 1 : 0;
    node.touchAttributes();
    this.dropIfUnused(node);
  }

  dropIfUnused(node: MemoryNode): void {
    if (node.nlink > 0 || node.lookups > 0 || node.opens > 0) return;
    this.bytes -= node.bytes;
    this.#nodes.delete(node.id);
  }

  /** The client is gone, and with it all that it held. */
  dropAllUnused(): void {
    for (const node of this.#nodes.values()) {
      node.lookups = 0;
      node.opens = 0;
      this.dropIfUnused(node);
    }
  }

  /** renameat2(2). */
  rename(
    ctx: RequestContext,
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags: number,
  ): number {
    const from = this.directory(parent);
    const to = this.directory(newParent);
    const node = this.child(parent, name);
    const replaced = this.child(newParent, newName);
    if (from === undefined || to === undefined) return -ENOTDIR;
    if (node === undefined || to.nlink === 0) return -ENOENT;
    if (isInside(to, node)) return -EINVAL;
    if ((flags & RENAME_EXCHANGE) !== 0) {
      if (replaced === undefined) return -ENOENT;
      if ((flags & ~RENAME_EXCHANGE) !== 0 || isInside(from, replaced)) return -EINVAL;
      exchange(from, name, node, to, newName, replaced);
      return 0;
    }
    if (replaced !== undefined) {
      if ((flags & RENAME_NOREPLACE) !== 0) return -EEXIST;
      if (replaced === node) return 0;
      const refusal = cannotReplace(node, replaced);
      if (refusal < 0) return refusal;
    }
    if ((flags & RENAME_WHITEOUT) !== 0) {
      const whiteout = this.add(ctx, from, S_IFCHR, 0);
      if (whiteout === undefined) return -ENOSPC;
      from.replaceEntry(name, whiteout);
    } else from.removeEntry(name);
    if (replaced === undefined) to.addEntry(newName, node);
    else {
      to.replaceEntry(newName, node);
      this.unlinked(replaced);
    }
    node.touchAttributes();
    return 0;
  }
}

function cannotReplace(node: MemoryNode, replaced: MemoryNode): number {
  if (replaced.children === undefined) return node.children === undefined ? 0 : -ENOTDIR;
  if (node.children === undefined) return -EISDIR;
  return replaced.children.size > 0 ? -ENOTEMPTY : 0;
}

function exchange(
  from: MemoryNode,
  name: string,
  node: MemoryNode,
  to: MemoryNode,
  newName: string,
  other: MemoryNode,
): void {
  from.replaceEntry(name, other);
  to.replaceEntry(newName, node);
  node.touchAttributes();
  other.touchAttributes();
}

/** Whether `directory` is `ancestor` or below it. */
function isInside(directory: MemoryNode, ancestor: MemoryNode): boolean {
  if (ancestor.children === undefined) return false;
  let at: MemoryNode | undefined = directory;
  while (at !== undefined && at !== ancestor && at.id !== FUSE_ROOT_ID) at = at.parent;
  return at === ancestor;
}
