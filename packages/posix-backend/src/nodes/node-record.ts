import { type NodeMemory, record } from "./node-memory.js";

/** How the table gets at the inode of a node. */
export const NodeKind = {
  /** It keeps an fd: the host cannot give the inode number to another file. */
  pinned: 1,
  /** Threads have fds of it in their caches, and nothing more was noted yet. */
  cached: 2,
  /** A file handle, which holds a generation where the file system reuses inode numbers. */
  handle: 3,
  /** The name it was last seen under, and its time of birth. */
  named: 4,
  /** As pinned, for a directory that is reached through a followed symbolic link. */
  alias: 5,
  /** No node, but more bytes of the name of one. */
  name: 6,
  /** The inode is gone, but the client has not forgotten the node. */
  gone: 7,
} as const;

// The meta word of a record, from the lowest bit: 3 bits kind, 4 bits type (of S_IFMT), 6 bits length of
// the payload in bytes, 3 unused, 16 bits volume.

const LENGTH_SHIFT = 7;
const LENGTH_MASK = 0x3f << LENGTH_SHIFT;

export function metaOf(kind: number, mode: number, volume: number): number {
  return (kind | (((mode >> 12) & 0xf) << 3) | (volume << 16)) >>> 0;
}

export function kindOf(meta: number): number {
  return meta & 7;
}

/** The `S_IFMT` bits. */
export function typeOf(meta: number): number {
  return ((meta >> 3) & 0xf) << 12;
}

export function volumeOf(meta: number): number {
  return meta >>> 16;
}

export function payloadLength(meta: number): number {
  return (meta & LENGTH_MASK) >> LENGTH_SHIFT;
}

/** Changes what the table knows of an inode. */
export function setKind(memory: NodeMemory, at: number, kind: number, length: number): void {
  const meta = memory.read(at + record.meta) & ~(7 | LENGTH_MASK);
  memory.write(at + record.meta, meta | kind | (length << LENGTH_SHIFT));
}
