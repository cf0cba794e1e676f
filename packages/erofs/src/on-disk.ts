/**
 * The on-disk structs of EROFS, field for field as in the kernel's `fs/erofs/erofs_fs.h` (there is no
 * uapi header), unions spelled out as the member used here. All integers are little-endian.
 */
import { defineStruct } from "@supermachine-internal/struct";

/** The superblock starts here, whatever the block size; the bytes before it are free for boot code. */
export const EROFS_SUPER_OFFSET = 1024;
/** `EROFS_SUPER_MAGIC_V1` of `linux/magic.h`. */
export const EROFS_SUPER_MAGIC = 0xe0f5e1e2;
export const EROFS_FEATURE_COMPAT_SB_CHKSUM = 0x1;
export const EROFS_FEATURE_COMPAT_MTIME = 0x2;
/** Says how LZ4 data is padded; without effect on the uncompressed files read here. */
export const EROFS_FEATURE_INCOMPAT_ZERO_PADDING = 0x1;
/** A nid counts slots of this many bytes from the start of the metadata area. */
export const EROFS_ISLOT_SIZE = 32;
export const EROFS_BLOCK_BITS = 12;
export const EROFS_BLOCK_SIZE = 1 << EROFS_BLOCK_BITS;
export const EROFS_NULL_ADDR = 0xffffffff;
export const EROFS_NAME_LEN = 255;

export const EROFS_INODE_LAYOUT_EXTENDED = 1;
export const EROFS_INODE_FLAT_PLAIN = 0;
export const EROFS_INODE_FLAT_INLINE = 2;
/** `i_format`: bit 0 is the inode version, bits 1 to 3 the data layout, the others must be zero. */
export const EROFS_I_VERSION_MASK = 0x1;
export const EROFS_I_DATALAYOUT_BIT = 1;
export const EROFS_I_ALL = 0xf;

export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

export const superBlock = defineStruct("erofs_super_block", 128, {
  magic: "u32",
  checksum: "u32",
  feature_compat: "u32",
  blkszbits: "u8",
  sb_extslots: "u8",
  root_nid: "u16",
  inos: "u64",
  build_time: "u64",
  build_time_nsec: "u32",
  blocks: "u32",
  meta_blkaddr: "u32",
  xattr_blkaddr: "u32",
  uuid: { bytes: 16 },
  volume_name: { bytes: 16 },
  feature_incompat: "u32",
  u1: "u16",
  extra_devices: "u16",
  devt_slotoff: "u16",
  dirblkbits: "u8",
  reserved: { bytes: 5 },
  packed_nid: "u64",
  reserved2: { bytes: 24 },
});

export const inodeCompact = defineStruct("erofs_inode_compact", 32, {
  i_format: "u16",
  i_xattr_icount: "u16",
  i_mode: "u16",
  i_nlink: "u16",
  i_size: "u32",
  i_reserved: "u32",
  i_u: "u32",
  i_ino: "u32",
  i_uid: "u16",
  i_gid: "u16",
  i_reserved2: "u32",
});

export const inodeExtended = defineStruct("erofs_inode_extended", 64, {
  i_format: "u16",
  i_xattr_icount: "u16",
  i_mode: "u16",
  i_reserved: "u16",
  i_size: "u64",
  i_u: "u32",
  i_ino: "u32",
  i_uid: "u32",
  i_gid: "u32",
  i_mtime: "s64",
  i_mtime_nsec: "u32",
  i_nlink: "u32",
  i_reserved2: { bytes: 16 },
});

export const xattrIbodyHeader = defineStruct("erofs_xattr_ibody_header", 12, {
  h_reserved: "u32",
  h_shared_count: "u8",
  h_reserved2: { bytes: 7 },
});

export const xattrEntry = defineStruct("erofs_xattr_entry", 4, {
  e_name_len: "u8",
  e_name_index: "u8",
  e_value_size: "u16",
});

export const dirent = defineStruct("erofs_dirent", 12, {
  nid: "u64",
  nameoff: "u16",
  file_type: "u8",
  reserved: "u8",
});
