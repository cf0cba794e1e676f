import {
  EEXIST,
  EISDIR,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  ESTALE,
  FUSE_ROOT_ID,
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

  /** Makes a node and its name; a negated errno when it cannot. */
  make(
    ctx: RequestContext,
    parent: number,
    name: string,
    mode: number,
    rdev = 0,
    target?: string,
  ): MemoryNode | number {
    const directory = this.directory(parent);
    if (directory === undefined) return -ENOTDIR;
    if (directory.nlink === 0) return -ENOENT;
    if (directory.children?.has(name)) return -EEXIST;
    const node = this.add(ctx, directory, mode, rdev, target);
    if (node === undefined) return -ENOSPC;
    directory.addEntry(name, node);
    return node;
  }

  /** Gives a node another name. */
  link(nodeid: number, newParent: number, newName: string): MemoryNode | number {
    const node = this.node(nodeid);
    const directory = this.directory(newParent);
    if (node === undefined) return -ESTALE;
    if (directory === undefined) return -ENOTDIR;
    if (node.children !== undefined) return -EPERM;
    if (directory.nlink === 0) return -ENOENT;
    if (directory.children?.has(newName)) return -EEXIST;
    node.nlink++;
    node.touchAttributes();
    directory.addEntry(newName, node);
    return node;
  }

  unlink(parent: number, name: string): number {
    const node = this.child(parent, name);
    if (node === undefined) return -ENOENT;
    if (node.children !== undefined) return -EISDIR;
    this.node(parent)?.removeEntry(name);
    this.unlinked(node);
    return 0;
  }

  rmdir(parent: number, name: string): number {
    const node = this.child(parent, name);
    if (node === undefined) return -ENOENT;
    if (node.children === undefined) return -ENOTDIR;
    if (node.children.size > 0) return -ENOTEMPTY;
    this.node(parent)?.removeEntry(name);
    this.unlinked(node);
    return 0;
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
}
