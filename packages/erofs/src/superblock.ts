import { decodeName } from "@supermachine-internal/file-name";
import { crc32c } from "./crc32c.js";
import { ErofsError } from "./errors.js";
import {
  EROFS_FEATURE_COMPAT_SB_CHKSUM,
  EROFS_FEATURE_INCOMPAT_ZERO_PADDING,
  EROFS_SUPER_MAGIC,
  EROFS_SUPER_OFFSET,
  superBlock,
} from "./on-disk.js";

/** The checked facts of a superblock. */
export interface ErofsSuperBlock {
  /** Bytes in a block, a power of two from 512 to 65536. */
  readonly blockSize: number;
  /** Blocks in the image. */
  readonly blocks: number;
  readonly inodes: number;
  readonly rootNid: number;
  /** Block from which nids count. */
  readonly metaBlock: number;
  /** Block from which ids of shared xattrs count. */
  readonly xattrBlock: number;
  readonly buildTime: { readonly seconds: number; readonly nanoseconds: number };
  readonly uuid: Uint8Array;
  readonly volumeName: string;
}

/** The bytes from the start of an image that {@link decodeSuperBlock} needs, if there are so many. */
export const SUPERBLOCK_READ_SIZE = 65536;

/**
 * Checks and decodes the superblock in the first bytes of an image of `imageSize` bytes. Throws
 * {@link ErofsError} `ERR_EROFS_CORRUPT` or `ERR_EROFS_UNSUPPORTED`.
 */
export function decodeSuperBlock(start: Uint8Array, imageSize: number): ErofsSuperBlock {
  const corrupt = (what: string) => new ErofsError("ERR_EROFS_CORRUPT", `superblock: ${what}`);
  if (start.length < EROFS_SUPER_OFFSET + superBlock.size) {
    throw corrupt(`the image of ${imageSize} bytes is too short to have one`);
  }
  const raw = superBlock.decode(start, EROFS_SUPER_OFFSET);
  if (raw.magic !== EROFS_SUPER_MAGIC) {
    throw corrupt(`the magic number is 0x${raw.magic.toString(16)}, so this is not an EROFS image`);
  }
  if (raw.blkszbits < 9 || raw.blkszbits > 16) {
    throw corrupt(`a block size of 2^${raw.blkszbits} bytes is outside of 2^9 to 2^16`);
  }
  const unknown = raw.feature_incompat & ~EROFS_FEATURE_INCOMPAT_ZERO_PADDING;
  if (unknown !== 0 || raw.dirblkbits !== 0) {
    throw new ErofsError(
      "ERR_EROFS_UNSUPPORTED",
      `the image uses features not read here (feature_incompat 0x${unknown.toString(16)}, ` +
        `dirblkbits ${raw.dirblkbits}): only uncompressed files in flat layouts are`,
    );
  }
  const blockSize = 2 ** raw.blkszbits;
  if (raw.feature_compat & EROFS_FEATURE_COMPAT_SB_CHKSUM) {
    // As the kernel: to the end of the first block, or for one block where blocks are smaller.
    const length = blockSize > EROFS_SUPER_OFFSET ? blockSize - EROFS_SUPER_OFFSET : blockSize;
    const covered = new Uint8Array(start.subarray(EROFS_SUPER_OFFSET, EROFS_SUPER_OFFSET + length));
    covered.fill(0, superBlock.offsets.checksum, superBlock.offsets.checksum + 4);
    if (covered.length < length || crc32c(covered) !== raw.checksum) {
      throw corrupt("its checksum does not match, so the image is damaged");
    }
  }
  if (raw.blocks * blockSize > imageSize) {
    throw corrupt(
      `it announces ${raw.blocks} blocks of ${blockSize} bytes, but the image ends after ${imageSize} bytes`,
    );
  }
  const nameEnd = raw.volume_name.indexOf(0);
  return {
    blockSize,
    blocks: raw.blocks,
    inodes: Number(raw.inos),
    rootNid: raw.root_nid,
    metaBlock: raw.meta_blkaddr,
    xattrBlock: raw.xattr_blkaddr,
    buildTime: {
      seconds: Number(BigInt.asIntN(64, raw.build_time)),
      nanoseconds: raw.build_time_nsec,
    },
    uuid: new Uint8Array(raw.uuid),
    volumeName: decodeName(raw.volume_name.subarray(0, nameEnd === -1 ? 16 : nameEnd)),
  };
}
