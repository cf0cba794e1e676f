import { decodeName } from "@supermachine-internal/file-name";
import { decodeDirectoryBlock, type ErofsDirent } from "./directory-blocks.js";
import { decodeDevice, formatBits } from "./encode-inode.js";
import { ErofsError } from "./errors.js";
import {
  EROFS_I_ALL,
  EROFS_I_DATALAYOUT_BIT,
  EROFS_I_VERSION_MASK,
  EROFS_INODE_FLAT_INLINE,
  EROFS_INODE_FLAT_PLAIN,
  EROFS_ISLOT_SIZE,
  inodeCompact,
  inodeExtended,
  S_IFMT,
  xattrIbodyHeader,
} from "./on-disk.js";
import { decodeSuperBlock, type ErofsSuperBlock, SUPERBLOCK_READ_SIZE } from "./superblock.js";
import type { ErofsNodeType } from "./tree.js";
import { decodeXattr, xattrBodySize } from "./xattr.js";

/** Where an image is read from. */
export interface ErofsInput {
  /** Bytes there are. */
  readonly size: number;
  /** Returns `length` bytes at `position`; the range always lies within `size`. */
  read(position: number, length: number): Promise<Uint8Array> | Uint8Array;
}

/** What an inode says, checked. */
export interface ErofsInode {
  readonly nid: number;
  readonly type: ErofsNodeType;
  /** Permission, set-id and sticky bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  /** Bytes of content; its whole extent lies within the image. */
  readonly size: number;
  readonly mtime: number;
  readonly mtimeNsec: number;
  /** Device numbers; 0 where there are none. */
  readonly major: number;
  readonly minor: number;
  /** Position and length in bytes of the xattr body. */
  readonly xattrPosition: number;
  readonly xattrSize: number;
  /** Position of the content in blocks, and of the inline tail behind it. */
  readonly blockPosition: number;
  readonly inlinePosition: number;
  readonly inlineSize: number;
}

const typeOfFormat = new Map(
  (Object.keys(formatBits) as ErofsNodeType[]).map((type) => [formatBits[type], type]),
);
const MAX_SYMLINK = 4095;

function corrupt(nid: number, what: string): ErofsError {
  return new ErofsError("ERR_EROFS_CORRUPT", `inode ${nid}: ${what}`);
}

/**
 * Reads uncompressed EROFS images, of this package or of `mkfs.erofs`. Every number in the image is
 * checked against the image's size before it is used, so a hostile image costs at most its own size
 * in memory per call; every method throws {@link ErofsError} `ERR_EROFS_CORRUPT` for a damaged one.
 * Directories of a hostile image may contain each other: whoever walks one remembers the nids seen.
 */
export class ErofsReader {
  readonly superBlock: ErofsSuperBlock;
  readonly #input: ErofsInput;
  readonly #end: number;

  private constructor(input: ErofsInput, superBlock: ErofsSuperBlock) {
    this.#input = input;
    this.superBlock = superBlock;
    this.#end = superBlock.blocks * superBlock.blockSize;
  }

  /** Reads and checks the superblock; throws also `ERR_EROFS_UNSUPPORTED`. */
  static async open(input: ErofsInput): Promise<ErofsReader> {
    const start = await input.read(0, Math.min(input.size, SUPERBLOCK_READ_SIZE));
    return new ErofsReader(input, decodeSuperBlock(start, input.size));
  }

  /** The root directory. */
  async root(): Promise<ErofsInode> {
    const root = await this.inode(this.superBlock.rootNid);
    if (root.type !== "directory") throw corrupt(root.nid, `the root is a ${root.type}`);
    return root;
  }

  /** The inode of a nid, as found in a directory. */
  async inode(nid: number): Promise<ErofsInode> {
    const { blockSize, metaBlock, buildTime } = this.superBlock;
    const position = metaBlock * blockSize + nid * EROFS_ISLOT_SIZE;
    const compact = await this.#read(nid, position, inodeCompact.size);
    const format = compact[0] === undefined ? 0 : compact[0] | ((compact[1] ?? 0) << 8);
    const dataLayout = (format & EROFS_I_ALL) >> EROFS_I_DATALAYOUT_BIT;
    if (format & ~EROFS_I_ALL) throw corrupt(nid, `i_format is 0x${format.toString(16)}`);
    if (dataLayout !== EROFS_INODE_FLAT_PLAIN && dataLayout !== EROFS_INODE_FLAT_INLINE) {
      throw new ErofsError(
        "ERR_EROFS_UNSUPPORTED",
        `inode ${nid}: data layout ${dataLayout} is not read here`,
      );
    }
    const extended = (format & EROFS_I_VERSION_MASK) !== 0;
    const raw = extended
      ? inodeExtended.decode(await this.#read(nid, position, inodeExtended.size))
      : {
          ...inodeCompact.decode(compact),
          i_mtime: BigInt(buildTime.seconds),
          i_mtime_nsec: buildTime.nanoseconds,
        };
    const type = typeOfFormat.get(raw.i_mode & S_IFMT);
    if (type === undefined) throw corrupt(nid, `i_mode is 0o${raw.i_mode.toString(8)}`);
    const isDevice = type === "character-device" || type === "block-device";
    const size = Number(raw.i_size);
    const xattrSize = xattrBodySize(raw.i_xattr_icount);
    const xattrPosition = position + (extended ? inodeExtended.size : inodeCompact.size);
    const inlinePosition = xattrPosition + xattrSize;
    const inlineSize = dataLayout === EROFS_INODE_FLAT_INLINE ? size % blockSize : 0;
    const blockPosition = raw.i_u * blockSize;
    if (size > inlineSize && !(blockPosition + size - inlineSize <= this.#end)) {
      throw corrupt(
        nid,
        `${size} bytes of content from block ${raw.i_u} run over the end of the image`,
      );
    }
    if ((inlinePosition % blockSize) + inlineSize > blockSize) {
      throw corrupt(nid, "its inline tail crosses a block boundary");
    }
    return {
      nid,
      type,
      mode: raw.i_mode & ~S_IFMT,
      uid: raw.i_uid,
      gid: raw.i_gid,
      nlink: raw.i_nlink,
      size,
      mtime: Number(raw.i_mtime),
      mtimeNsec: raw.i_mtime_nsec,
      ...(isDevice ? decodeDevice(raw.i_u) : { major: 0, minor: 0 }),
      xattrPosition,
      xattrSize,
      blockPosition,
      inlinePosition,
      inlineSize,
    };
  }

  /** The entries of a directory in stored order, without `.` and `..`. */
  async *readdir(directory: ErofsInode): AsyncGenerator<ErofsDirent> {
    this.#expect(directory, "directory");
    for (let at = 0; at < directory.size; at += this.superBlock.blockSize) {
      for (const entry of await this.#directoryBlock(directory, at)) {
        if (entry.name !== "." && entry.name !== "..") yield entry;
      }
    }
  }

  /** The inode of a name in a directory, or undefined when there is none. */
  async lookup(directory: ErofsInode, name: string): Promise<ErofsInode | undefined> {
    for await (const entry of this.readdir(directory)) {
      if (entry.name === name) return this.inode(entry.nid);
    }
    return undefined;
  }

  /** The inode at a path of names separated by `/`, or undefined. Symlinks are not followed. */
  async resolve(path: string): Promise<ErofsInode | undefined> {
    let inode: ErofsInode | undefined = await this.root();
    for (const name of path.split("/")) {
      if (name === "") continue;
      if (inode?.type !== "directory") return undefined;
      inode = await this.lookup(inode, name);
    }
    return inode;
  }

  /** The target of a symlink. */
  async readlink(symlink: ErofsInode): Promise<string> {
    this.#expect(symlink, "symlink");
    if (symlink.size > MAX_SYMLINK)
      throw corrupt(symlink.nid, `a link target of ${symlink.size} bytes`);
    const target = await this.#content(symlink, 0, symlink.size);
    if (target.length === 0 || target.includes(0))
      throw corrupt(symlink.nid, "an empty link target, or a NUL in it");
    return decodeName(target);
  }

  /** The extended attributes of any inode by full name. */
  async xattrs(inode: ErofsInode): Promise<Map<string, Uint8Array>> {
    const xattrs = new Map<string, Uint8Array>();
    if (inode.xattrSize === 0) return xattrs;
    const { nid } = inode;
    const body = await this.#read(nid, inode.xattrPosition, inode.xattrSize);
    const sharedCount = body[xattrIbodyHeader.offsets.h_shared_count] ?? 0;
    let at = xattrIbodyHeader.size + 4 * sharedCount;
    if (at > body.length)
      throw corrupt(nid, `${sharedCount} shared extended attributes do not fit its body`);
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    for (let index = 0; index < sharedCount; index++) {
      const { name, value } = await this.#sharedXattr(
        nid,
        view.getUint32(xattrIbodyHeader.size + 4 * index, true),
      );
      xattrs.set(name, value);
    }
    while (at < body.length) {
      const { name, value, size } = decodeXattr(body, at, nid);
      xattrs.set(name, value);
      at += size;
    }
    return xattrs;
  }

  /** Up to `length` bytes of a regular file from `position`; fewer only at its end. */
  async readFile(file: ErofsInode, position = 0, length = file.size): Promise<Uint8Array> {
    this.#expect(file, "file");
    const start = Math.min(Math.max(0, position), file.size);
    return this.#content(file, start, Math.min(Math.max(0, length), file.size - start));
  }

  async #directoryBlock(directory: ErofsInode, at: number): Promise<ErofsDirent[]> {
    const length = Math.min(this.superBlock.blockSize, directory.size - at);
    return decodeDirectoryBlock(await this.#content(directory, at, length), directory.nid);
  }

  async #sharedXattr(nid: number, id: number): Promise<{ name: string; value: Uint8Array }> {
    const position = this.superBlock.xattrBlock * this.superBlock.blockSize + 4 * id;
    // The largest entry there can be; less at the end of the image, which decodeXattr notices.
    const length = Math.min(4 + 255 + 65535, Math.max(0, this.#end - position));
    return decodeXattr(await this.#read(nid, position, length), 0, nid);
  }

  async #content(inode: ErofsInode, start: number, length: number): Promise<Uint8Array> {
    const inBlocks = inode.size - inode.inlineSize;
    const fromBlocks = Math.min(length, Math.max(0, inBlocks - start));
    const blocks = await this.#read(inode.nid, inode.blockPosition + start, fromBlocks);
    if (fromBlocks === length) return blocks;
    const inlineStart = Math.max(0, start - inBlocks);
    const tail = await this.#read(
      inode.nid,
      inode.inlinePosition + inlineStart,
      length - fromBlocks,
    );
    return fromBlocks === 0 ? tail : Buffer.concat([blocks, tail]);
  }

  async #read(nid: number, position: number, length: number): Promise<Uint8Array> {
    if (length === 0) return new Uint8Array(0);
    if (!Number.isSafeInteger(position) || position < 0 || position + length > this.#end) {
      throw corrupt(nid, `${length} bytes at ${position} are outside of the image`);
    }
    const bytes = await this.#input.read(position, length);
    if (bytes.length !== length) {
      throw corrupt(nid, `the input gave ${bytes.length} of ${length} bytes at ${position}`);
    }
    return bytes;
  }

  #expect(inode: ErofsInode, type: ErofsNodeType): void {
    if (inode.type === type) return;
    throw new ErofsError(
      "ERR_EROFS_WRONG_TYPE",
      `inode ${inode.nid} is a ${inode.type}, not a ${type}`,
    );
  }
}
