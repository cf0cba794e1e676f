import { encodeName } from "@supermachine-internal/file-name";
import { directorySize, nameProblem, sortedEntries } from "./directory-blocks.js";
import { ErofsError } from "./errors.js";
import {
  EROFS_BLOCK_SIZE,
  EROFS_ISLOT_SIZE,
  EROFS_NULL_ADDR,
  EROFS_SUPER_OFFSET,
  inodeCompact,
  inodeExtended,
  superBlock,
} from "./on-disk.js";
import type { ErofsDirectory, ErofsFile, ErofsNode } from "./tree.js";
import { encodeXattrs } from "./xattr.js";

/** A point in time as EROFS stores it: seconds since 1970 and nanoseconds on top. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** An inode and everything about where it goes, known before any content has been seen. */
export interface PlannedInode {
  readonly node: ErofsNode;
  /** `i_ino`: serial number from 1. */
  readonly ino: number;
  nlink: number;
  /** The directory of the first name found; a directory's `..`. */
  readonly parent: PlannedInode | undefined;
  /** `i_size` in bytes. */
  readonly size: number;
  readonly xattrs: Uint8Array;
  extended: boolean;
  /** Byte offset of the inode in the image, a multiple of 32. */
  position: number;
  /** Bytes from here to the next inode, or to the end of the metadata area: contents and padding. */
  span: number;
  /** Bytes of content right behind inode and xattrs: the whole tail, or none. */
  inlineSize: number;
  /** First block of the content that is not inline. */
  blockAddress: number;
}

/** The plan of a whole image. */
export interface Layout {
  readonly root: PlannedInode;
  /** Every inode in the order of its position; regular files come last. */
  readonly inodes: readonly PlannedInode[];
  readonly inodeOf: ReadonlyMap<ErofsNode, PlannedInode>;
  /** Size of the image in blocks. */
  readonly blocks: number;
  /** Compact inodes have no time of their own and show this one. */
  readonly buildTime: Timestamp;
}

/** The size of an inode header in bytes. */
export function headerSize(inode: PlannedInode): number {
  return inode.extended ? inodeExtended.size : inodeCompact.size;
}

/** Bytes of content in blocks of their own. */
export function blockDataSize(inode: PlannedInode): number {
  return inode.size - inode.inlineSize;
}

/** The node id: the position counted in slots, as the metadata area starts at block 0. */
export function nidOf(inode: PlannedInode): number {
  return inode.position / EROFS_ISLOT_SIZE;
}

function invalid(path: string, problem: string): ErofsError {
  return new ErofsError("ERR_EROFS_INVALID_TREE", `${path || "/"}: ${problem}`);
}

function checkRange(path: string, field: string, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw invalid(path, `${field} is ${value}, but must be an integer from 0 to ${max}`);
  }
}

function checkNode(node: ErofsNode, path: string): void {
  checkRange(path, "mode", node.mode, 0o7777);
  checkRange(path, "uid", node.uid, 0xfffffffe);
  checkRange(path, "gid", node.gid, 0xfffffffe);
  checkRange(path, "mtimeNsec", node.mtimeNsec ?? 0, 999_999_999);
  if (!Number.isSafeInteger(node.mtime)) {
    throw invalid(path, `mtime is ${node.mtime}, but must be whole seconds`);
  }
  if (node.type === "file") checkRange(path, "size", node.size, Number.MAX_SAFE_INTEGER);
  if (node.type === "symlink") {
    const target = encodeName(node.target);
    checkRange(path, "the length of the link target minus 1", target.length - 1, 4094);
    if (target.includes(0)) throw invalid(path, "the link target contains NUL");
  }
  if (node.type === "character-device" || node.type === "block-device") {
    checkRange(path, "major", node.major, 0xfff);
    checkRange(path, "minor", node.minor, 0xfffff);
  }
}

function contentSize(node: ErofsNode): number {
  if (node.type === "file") return node.size;
  if (node.type === "symlink") return encodeName(node.target).length;
  if (node.type === "directory") return directorySize(sortedEntries(node.entries, node, node));
  return 0;
}

/** Walks the tree in the order of its sorted names, parents first; no recursion, trees may be deep. */
function collectInodes(root: ErofsDirectory): Map<ErofsNode, PlannedInode> {
  const inodeOf = new Map<ErofsNode, PlannedInode>();
  const add = (node: ErofsNode, path: string, parent: PlannedInode | undefined) => {
    checkNode(node, path);
    const inode: PlannedInode = {
      node,
      ino: inodeOf.size + 1,
      nlink: node.type === "directory" ? 2 : 1,
      parent,
      size: contentSize(node),
      xattrs: encodeXattrs(node.xattrs, path || "/"),
      extended: true,
      position: 0,
      span: 0,
      inlineSize: 0,
      blockAddress: EROFS_NULL_ADDR,
    };
    inodeOf.set(node, inode);
    return inode;
  };
  const pending: { path: string; node: ErofsDirectory; inode: PlannedInode }[] = [
    { path: "", node: root, inode: add(root, "", undefined) },
  ];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { path, node: directory, inode: parent } = next;
    const names = [...directory.entries.keys()].sort();
    const subdirectories: typeof pending = [];
    for (const name of names) {
      const node = directory.entries.get(name);
      if (node === undefined) continue;
      const problem = nameProblem(name);
      if (problem) throw invalid(path, `the name ${JSON.stringify(name)} in it ${problem}`);
      const nodePath = `${path}/${name}`;
      const known = inodeOf.get(node);
      if (known === undefined) {
        const inode = add(node, nodePath, parent);
        if (node.type === "directory") subdirectories.push({ path: nodePath, node, inode });
      } else if (node.type === "directory") {
        throw invalid(nodePath, "is a directory that is already elsewhere in the tree");
      } else {
        known.nlink++;
      }
      if (node.type === "directory") parent.nlink++;
    }
    for (const subdirectory of subdirectories.reverse()) pending.push(subdirectory);
  }
  return inodeOf;
}

/** The time most files have, the earlier one of equals: it costs those files no bytes. */
function mostCommonTime(inodes: Iterable<PlannedInode>): Timestamp {
  const counts = new Map<string, { time: Timestamp; count: number }>();
  for (const { node } of inodes) {
    const time = { seconds: node.mtime, nanoseconds: node.mtimeNsec ?? 0 };
    const key = `${time.seconds}.${time.nanoseconds}`;
    const known = counts.get(key);
    if (known) known.count++;
    else counts.set(key, { time, count: 1 });
  }
  const ranked = [...counts.values()].sort(
    (a, b) =>
      b.count - a.count ||
      a.time.seconds - b.time.seconds ||
      a.time.nanoseconds - b.time.nanoseconds,
  );
  return ranked[0]?.time ?? { seconds: 0, nanoseconds: 0 };
}

function needsExtended({ node, nlink, size }: PlannedInode, buildTime: Timestamp): boolean {
  return (
    node.mtime !== buildTime.seconds ||
    (node.mtimeNsec ?? 0) !== buildTime.nanoseconds ||
    node.uid > 0xffff ||
    node.gid > 0xffff ||
    nlink > 0xffff ||
    size > 0xffffffff
  );
}

const alignUp = (value: number, alignment: number) => Math.ceil(value / alignment) * alignment;

/**
 * Chooses the position of an inode at or after `cursor` and returns the end of it. The header and the
 * inline tail must each lie within one block (`erofs_map_blocks_flatmode` refuses a tail that does not);
 * a tail that does not fit behind its inode in any block goes to a block of its own.
 */
function place(inode: PlannedInode, cursor: number): number {
  const header = headerSize(inode);
  const head = header + inode.xattrs.length;
  const tail = inode.size % EROFS_BLOCK_SIZE;
  const crosses = (start: number, size: number) =>
    size > 0 && (start % EROFS_BLOCK_SIZE) + size > EROFS_BLOCK_SIZE;
  const fits = (start: number, inline: number) =>
    !crosses(start, header) && !crosses(start + head, inline);

  const here = alignUp(cursor, EROFS_ISLOT_SIZE);
  const nextBlock = alignUp(cursor, EROFS_BLOCK_SIZE);
  inode.inlineSize = fits(nextBlock, tail) ? tail : 0;
  inode.position = fits(here, inode.inlineSize) ? here : nextBlock;
  return inode.position + head + inode.inlineSize;
}

/**
 * Plans an image: superblock, then directories, symlinks and special files with the root first (its
 * nid has 16 bits in the superblock), then regular files in the order of `compareFiles`, each inode
 * with its tail; then the blocks of directories and symlinks, and file data in the same order.
 */
export function planLayout(
  root: ErofsDirectory,
  compareFiles: ((a: ErofsFile, b: ErofsFile) => number) | undefined,
  chosenBuildTime: Timestamp | undefined,
): Layout {
  const inodeOf = collectInodes(root);
  const others: PlannedInode[] = [];
  const files: { file: ErofsFile; inode: PlannedInode }[] = [];
  for (const [node, inode] of inodeOf) {
    if (node.type === "file") files.push({ file: node, inode });
    else others.push(inode);
  }
  if (compareFiles) files.sort((a, b) => compareFiles(a.file, b.file));
  const inodes = [...others, ...files.map(({ inode }) => inode)];
  const buildTime = chosenBuildTime ?? mostCommonTime(inodes);

  let cursor = EROFS_SUPER_OFFSET + superBlock.size;
  for (const inode of inodes) {
    inode.extended = needsExtended(inode, buildTime);
    cursor = place(inode, cursor);
  }
  let block = Math.ceil(cursor / EROFS_BLOCK_SIZE);
  for (const [index, inode] of inodes.entries()) {
    inode.span = (inodes[index + 1]?.position ?? block * EROFS_BLOCK_SIZE) - inode.position;
  }
  for (const inode of inodes) {
    const blocks = Math.ceil(blockDataSize(inode) / EROFS_BLOCK_SIZE);
    if (blocks === 0) continue;
    inode.blockAddress = block;
    block += blocks;
  }
  if (block >= EROFS_NULL_ADDR) {
    throw new ErofsError(
      "ERR_EROFS_INVALID_TREE",
      `the tree needs ${block} blocks, more than an EROFS image of 32-bit block addresses can have`,
    );
  }
  const rootInode = inodeOf.get(root);
  if (rootInode === undefined) throw new RangeError("the root is always planned first");
  return { root: rootInode, inodes, inodeOf, blocks: block, buildTime };
}
