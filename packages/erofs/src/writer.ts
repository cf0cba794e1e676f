import { encodeName } from "@supermachine-internal/file-name";
import { crc32c } from "./crc32c.js";
import { encodeDirectory, sortedEntries } from "./directory-blocks.js";
import { encodeInode } from "./encode-inode.js";
import { ErofsError } from "./errors.js";
import { blockDataSize, type Layout, nidOf, type PlannedInode, planLayout } from "./layout.js";
import {
  EROFS_BLOCK_BITS,
  EROFS_BLOCK_SIZE,
  EROFS_FEATURE_COMPAT_MTIME,
  EROFS_FEATURE_COMPAT_SB_CHKSUM,
  EROFS_SUPER_MAGIC,
  EROFS_SUPER_OFFSET,
  superBlock,
} from "./on-disk.js";
import { type ErofsOutput, SequentialOutput } from "./sequential-output.js";
import type { ErofsDirectory, ErofsFile, ErofsNode } from "./tree.js";

/** The bytes of a file, whole or in parts. */
export type ErofsContent = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** Settings of an image; the defaults leave nothing to chance, so equal trees give equal images. */
export interface ErofsWriterOptions {
  /** 16 bytes of volume UUID; zeros when absent. */
  readonly uuid?: Uint8Array;
  /** Volume name of up to 16 bytes; empty when absent. */
  readonly volumeName?: string;
  /**
   * The time of the image, which files of just this time take 32 bytes less for; by default the most
   * common time in the tree.
   */
  readonly buildTime?: { readonly seconds: number; readonly nanoseconds: number };
  /**
   * The order in which file content will come. Content may come in any order, but in this one (by
   * default that of the sorted tree) every write follows the one before.
   */
  readonly compareFiles?: (a: ErofsFile, b: ErofsFile) => number;
}

const zeros = new Uint8Array(EROFS_BLOCK_SIZE);

async function* partsOf(content: ErofsContent): AsyncGenerator<Uint8Array> {
  if (content instanceof Uint8Array) yield content;
  else yield* content;
}

/**
 * Writes one image. The constructor plans where everything goes from the tree alone; then the content
 * of each file is streamed to its place, in any order; {@link ErofsWriter.finish} writes the rest,
 * the superblock last, so that an unfinished image is never taken for a whole one.
 */
export class ErofsWriter {
  readonly #layout: Layout;
  readonly #options: ErofsWriterOptions;
  readonly #output: ErofsOutput;
  readonly #metadata: SequentialOutput;
  readonly #data: SequentialOutput;
  /** Held back until the end: the superblock's checksum covers all of it. */
  readonly #firstBlock = new Uint8Array(EROFS_BLOCK_SIZE);
  readonly #missing = new Set<ErofsFile>();
  #state: "idle" | "writing" | "finished" = "idle";

  /** Throws {@link ErofsError} `ERR_EROFS_INVALID_TREE` for a tree that EROFS cannot store. */
  constructor(root: ErofsDirectory, output: ErofsOutput, options: ErofsWriterOptions = {}) {
    if (options.uuid !== undefined && options.uuid.length !== 16) {
      throw new RangeError(`uuid must have 16 bytes, not ${options.uuid.length}`);
    }
    if (encodeName(options.volumeName ?? "").length > 16) {
      throw new RangeError(`volumeName must have at most 16 bytes: ${options.volumeName}`);
    }
    this.#layout = planLayout(root, options.compareFiles, options.buildTime);
    this.#options = options;
    this.#output = output;
    this.#metadata = new SequentialOutput(output);
    this.#data = new SequentialOutput(output);
    for (const { node } of this.#layout.inodes) {
      if (node.type === "file" && node.size > 0) this.#missing.add(node);
    }
  }

  /** The size of the finished image in bytes, a multiple of 4096. */
  get size(): number {
    return this.#layout.blocks * EROFS_BLOCK_SIZE;
  }

  /** How many inodes the image has. */
  get inodeCount(): number {
    return this.#layout.inodes.length;
  }

  /** The files whose content is still to come, in the planned order; empty files need none. */
  get missingFiles(): readonly ErofsFile[] {
    return [...this.#missing];
  }

  /**
   * Writes the content of a file of the tree, once. Throws {@link ErofsError} `ERR_EROFS_CONTENT` when
   * it is longer or shorter than the file's `size`, and whatever `content` and the output throw.
   */
  async writeFile(file: ErofsFile, content: ErofsContent): Promise<void> {
    const inode = this.#layout.inodeOf.get(file);
    if (inode === undefined || !this.#missing.has(file)) {
      const problem = inode === undefined ? "not in the tree" : "empty or written already";
      throw new ErofsError("ERR_EROFS_CONTENT", `content came for a file that is ${problem}`);
    }
    this.#enter("writing");
    await this.#writeInode(inode, content);
    this.#missing.delete(file);
    this.#state = "idle";
  }

  /**
   * Writes directories, links, special files and the superblock. Throws {@link ErofsError}
   * `ERR_EROFS_CONTENT` when the content of a file has not been written.
   */
  async finish(): Promise<void> {
    if (this.#missing.size > 0) {
      throw new ErofsError(
        "ERR_EROFS_CONTENT",
        `${this.#missing.size} files have no content yet; write all of missingFiles before finish`,
      );
    }
    this.#enter("finished");
    for (const inode of this.#layout.inodes) {
      if (inode.node.type === "file" && inode.size > 0) continue;
      await this.#writeInode(inode, this.#ownContent(inode));
    }
    await this.#metadata.flush();
    await this.#data.flush();
    this.#encodeSuperBlock();
    await this.#output.write(0, this.#firstBlock);
  }

  /** A writer is used by one call at a time, and no more once a call has failed half-way. */
  #enter(state: "writing" | "finished"): void {
    if (this.#state !== "idle") {
      throw new ErofsError(
        "ERR_EROFS_WRITER_STATE",
        this.#state === "finished"
          ? "the image is finished"
          : "another writeFile is not done, or has failed; its image cannot be completed",
      );
    }
    this.#state = state;
  }

  /** The content of directories and symlinks, which the tree itself holds. */
  #ownContent({ node, parent }: PlannedInode): Uint8Array {
    if (node.type === "symlink") return encodeName(node.target);
    if (node.type !== "directory") return new Uint8Array(0);
    const { inodeOf } = this.#layout;
    const entries = sortedEntries<ErofsNode>(node.entries, node, parent?.node ?? node);
    return encodeDirectory(entries, (entry) => {
      const inode = inodeOf.get(entry);
      if (inode !== undefined) return { nid: nidOf(inode), type: entry.type };
      throw new ErofsError("ERR_EROFS_INVALID_TREE", "the tree has changed since it was planned");
    });
  }

  async #writeInode(inode: PlannedInode, content: ErofsContent): Promise<void> {
    const blockSize = blockDataSize(inode);
    const start = inode.blockAddress * EROFS_BLOCK_SIZE;
    const header = encodeInode(inode);
    const head = new Uint8Array(inode.span);
    head.set(header);
    let done = 0;
    for await (const part of partsOf(content)) {
      if (done + part.length > inode.size) throw wrongSize(inode, `more than the ${inode.size}`);
      const inBlocks = Math.min(part.length, Math.max(0, blockSize - done));
      if (inBlocks > 0) await this.#data.write(start + done, part.subarray(0, inBlocks));
      if (inBlocks < part.length) {
        head.set(part.subarray(inBlocks), header.length + done + inBlocks - blockSize);
      }
      done += part.length;
    }
    if (done !== inode.size) throw wrongSize(inode, `${done}, not the ${inode.size}`);
    const padding = -blockSize & (EROFS_BLOCK_SIZE - 1);
    if (padding > 0) await this.#data.write(start + blockSize, zeros.subarray(0, padding));
    const inFirstBlock = Math.max(0, EROFS_BLOCK_SIZE - inode.position);
    if (inFirstBlock > 0) this.#firstBlock.set(head.subarray(0, inFirstBlock), inode.position);
    if (inFirstBlock < head.length) {
      await this.#metadata.write(inode.position + inFirstBlock, head.subarray(inFirstBlock));
    }
  }

  #encodeSuperBlock(): void {
    const { blocks, buildTime, inodes, root } = this.#layout;
    const block = this.#firstBlock;
    const volumeName = new Uint8Array(16);
    volumeName.set(encodeName(this.#options.volumeName ?? ""));
    superBlock.encode(
      {
        magic: EROFS_SUPER_MAGIC,
        checksum: 0,
        feature_compat: EROFS_FEATURE_COMPAT_SB_CHKSUM | EROFS_FEATURE_COMPAT_MTIME,
        blkszbits: EROFS_BLOCK_BITS,
        sb_extslots: 0,
        root_nid: nidOf(root),
        inos: BigInt(inodes.length),
        build_time: BigInt.asUintN(64, BigInt(buildTime.seconds)),
        build_time_nsec: buildTime.nanoseconds,
        blocks,
        meta_blkaddr: 0,
        xattr_blkaddr: 0,
        uuid: this.#options.uuid ?? new Uint8Array(16),
        volume_name: volumeName,
        feature_incompat: 0,
        u1: 0,
        extra_devices: 0,
        devt_slotoff: 0,
        dirblkbits: 0,
        reserved: new Uint8Array(5),
        packed_nid: 0n,
        reserved2: new Uint8Array(24),
      },
      block,
      EROFS_SUPER_OFFSET,
    );
    const view = new DataView(block.buffer);
    const checksum = crc32c(block.subarray(EROFS_SUPER_OFFSET));
    view.setUint32(EROFS_SUPER_OFFSET + superBlock.offsets.checksum, checksum, true);
  }
}

function wrongSize(inode: PlannedInode, found: string): ErofsError {
  return new ErofsError(
    "ERR_EROFS_CONTENT",
    `the content of inode ${inode.ino} has ${found} bytes that the tree says`,
  );
}

/** {@link writeErofs}'s options. */
export interface WriteErofsOptions extends ErofsWriterOptions {
  /** Gives the content of each file of the tree that is not empty; called once for each. */
  readonly content: (file: ErofsFile) => ErofsContent | Promise<ErofsContent>;
}

/** What was written. */
export interface ErofsSummary {
  /** Bytes, a multiple of 4096. */
  readonly size: number;
  readonly inodes: number;
}

/**
 * Writes `root` as an EROFS image: uncompressed, 4096-byte blocks, readable by Linux 5.4 and later.
 * Throws as {@link ErofsWriter} does; the output is then not a valid image.
 */
export async function writeErofs(
  root: ErofsDirectory,
  output: ErofsOutput,
  options: WriteErofsOptions,
): Promise<ErofsSummary> {
  const writer = new ErofsWriter(root, output, options);
  for (const file of writer.missingFiles) await writer.writeFile(file, await options.content(file));
  await writer.finish();
  return { size: writer.size, inodes: writer.inodeCount };
}
