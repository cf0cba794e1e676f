import { headerSize, type PlannedInode } from "./layout.js";
import {
  EROFS_I_DATALAYOUT_BIT,
  EROFS_INODE_FLAT_INLINE,
  EROFS_INODE_FLAT_PLAIN,
  EROFS_INODE_LAYOUT_EXTENDED,
  inodeCompact,
  inodeExtended,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
} from "./on-disk.js";
import type { ErofsNodeType } from "./tree.js";
import { xattrCount } from "./xattr.js";

/** The `S_IF*` bits of each type. */
export const formatBits: Readonly<Record<ErofsNodeType, number>> = {
  file: S_IFREG,
  directory: S_IFDIR,
  symlink: S_IFLNK,
  "character-device": S_IFCHR,
  "block-device": S_IFBLK,
  fifo: S_IFIFO,
  socket: S_IFSOCK,
};

/** The kernel's `new_encode_dev`: 12 bits of major between the low 8 and high 12 bits of minor. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

/** The kernel's `new_decode_dev`. */
export function decodeDevice(device: number): { major: number; minor: number } {
  return {
    major: (device >>> 8) & 0xfff,
    minor: (device & 0xff) | ((device >>> 12) & 0xfff00),
  };
}

/** Encodes the inode header and its xattrs; the inline tail goes right behind them. */
export function encodeInode(inode: PlannedInode): Uint8Array {
  const { node, size, xattrs, inlineSize } = inode;
  const header = headerSize(inode);
  const bytes = new Uint8Array(header + xattrs.length);
  const dataLayout = inlineSize > 0 ? EROFS_INODE_FLAT_INLINE : EROFS_INODE_FLAT_PLAIN;
  const isDevice = node.type === "character-device" || node.type === "block-device";
  const shared = {
    i_xattr_icount: xattrCount(xattrs),
    i_mode: formatBits[node.type] | node.mode,
    i_nlink: inode.nlink,
    i_u: isDevice ? encodeDevice(node.major, node.minor) : inode.blockAddress,
    i_ino: inode.ino,
    i_uid: node.uid,
    i_gid: node.gid,
  };
  if (inode.extended) {
    inodeExtended.encode(
      {
        ...shared,
        i_format: EROFS_INODE_LAYOUT_EXTENDED | (dataLayout << EROFS_I_DATALAYOUT_BIT),
        i_reserved: 0,
        i_size: BigInt(size),
        i_mtime: BigInt(node.mtime),
        i_mtime_nsec: node.mtimeNsec ?? 0,
        i_reserved2: new Uint8Array(16),
      },
      bytes,
    );
  } else {
    inodeCompact.encode(
      {
        ...shared,
        i_format: dataLayout << EROFS_I_DATALAYOUT_BIT,
        i_size: size,
        i_reserved: 0,
        i_reserved2: 0,
      },
      bytes,
    );
  }
  bytes.set(xattrs, header);
  return bytes;
}
