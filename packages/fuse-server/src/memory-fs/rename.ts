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
} from "@supermachine/fuse-protocol";
import type { RequestContext } from "../request.js";
import type { MemoryNode } from "./memory-node.js";
import type { MemoryTree } from "./memory-tree.js";

/** renameat2(2). */
export function rename(
  tree: MemoryTree,
  ctx: RequestContext,
  parent: number,
  name: string,
  newParent: number,
  newName: string,
  flags: number,
): number {
  const known = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;
  if ((flags & ~known) !== 0) return -EINVAL;
  if ((flags & RENAME_EXCHANGE) !== 0 && flags !== RENAME_EXCHANGE) return -EINVAL;
  const from = tree.directory(parent);
  const to = tree.directory(newParent);
  const node = tree.child(parent, name);
  const replaced = tree.child(newParent, newName);
  if (from === undefined || to === undefined) return -ENOTDIR;
  if (node === undefined || to.nlink === 0) return -ENOENT;
  // In the order of the kernel's own checks.
  if ((flags & RENAME_NOREPLACE) !== 0 && replaced !== undefined) return -EEXIST;
  if ((flags & RENAME_EXCHANGE) !== 0 && replaced === undefined) return -ENOENT;
  if (isInside(to, node)) return -EINVAL;
  if (replaced !== undefined && isInside(from, replaced)) {
    return (flags & RENAME_EXCHANGE) !== 0 ? -EINVAL : -ENOTEMPTY;
  }
  if (replaced === node) return 0;
  if (replaced !== undefined) {
    if ((flags & RENAME_EXCHANGE) !== 0) {
      exchange(from, name, node, to, newName, replaced);
      return 0;
    }
    const refusal = cannotReplace(node, replaced);
    if (refusal < 0) return refusal;
  }
  if ((flags & RENAME_WHITEOUT) !== 0) {
    const whiteout = tree.add(ctx, from, S_IFCHR, 0);
    if (whiteout === undefined) return -ENOSPC;
    from.replaceEntry(name, whiteout);
  } else from.removeEntry(name);
  if (replaced === undefined) to.addEntry(newName, node);
  else {
    to.replaceEntry(newName, node);
    tree.unlinked(replaced);
  }
  node.touchAttributes();
  return 0;
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
