import { ErofsError, type ErofsFile, type ErofsOutput, ErofsWriter } from "@supermachine/erofs";
import { type Expected, splitDigest, verified } from "../digest.js";
import { OciError } from "../errors.js";
import type { ImageLayer, SourceImage } from "../source/image-source.js";
import { readTar } from "../tar/reader.js";
import { applyEntry } from "./apply-layer.js";
import { decompress } from "./decompress.js";
import { ImageTree, type TreeFile } from "./image-tree.js";

/** How far the writing of a root file system is. */
export interface RootfsProgress {
  /** `scan` reads and checks all layers, `write` reads them again and writes the file content. */
  readonly phase: "scan" | "write";
  /** Stored bytes of layers read in this phase, and how many there are. */
  readonly done: number;
  readonly total: number;
}

/** {@link writeRootfs}'s options. */
export interface RootfsOptions {
  readonly onProgress?: (progress: RootfsProgress) => void;
  readonly signal?: AbortSignal;
  /** Bytes all layers together may have uncompressed; 256 GiB by default. */
  readonly maxUncompressedBytes?: number;
  /** Entries all layers together may have, which bounds memory; 10 million by default. */
  readonly maxEntries?: number;
  /** 16 bytes of UUID for the image file; by default taken from the digest. */
  readonly uuid?: Uint8Array;
}

/** What was written. */
export interface RootfsSummary {
  /** Bytes of the EROFS image. */
  readonly size: number;
  readonly inodes: number;
}

const MAX_UNCOMPRESSED = 256 * 2 ** 30;
const MAX_ENTRIES = 10_000_000;

/** Watches a phase go by: reports progress, stops when asked to. */
class Phase {
  readonly #report: (done: number) => void;
  readonly #signal: AbortSignal | undefined;
  #done = 0;

  constructor(
    phase: RootfsProgress["phase"],
    total: number,
    { onProgress, signal }: RootfsOptions,
  ) {
    this.#report = (done) => onProgress?.({ phase, done, total });
    this.#signal = signal;
    this.#report(0);
  }

  async *watch(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      this.#signal?.throwIfAborted();
      yield chunk;
      this.#done += chunk.length;
      this.#report(this.#done);
    }
  }
}

async function* limited(
  chunks: AsyncIterable<Uint8Array>,
  budget: { left: number },
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    budget.left -= chunk.length;
    if (budget.left < 0) {
      throw new OciError(
        "ERR_OCI_TOO_LARGE",
        "the layers are larger uncompressed than maxUncompressedBytes allows",
      );
    }
    yield chunk;
  }
}

/**
 * Damage shows first as bad gzip or tar, or as a wrong content digest; that the stored bytes are not
 * those of the manifest is the better answer then, so they are checked alone.
 */
async function explained(layer: ImageLayer, error: unknown): Promise<unknown> {
  if (!(error instanceof OciError) || error.code === "ERR_OCI_TOO_LARGE") return error;
  try {
    for await (const _ of layer.open());
    return error;
  } catch (better) {
    return better;
  }
}

async function scan(
  layers: readonly ImageLayer[],
  options: RootfsOptions,
  phase: Phase,
): Promise<ImageTree> {
  const tree = new ImageTree();
  const budget = { left: options.maxUncompressedBytes ?? MAX_UNCOMPRESSED };
  const maxEntries = options.maxEntries ?? MAX_ENTRIES;
  let entries = 0;
  for (const [index, layer] of layers.entries()) {
    tree.beginLayer();
    const plain = limited(decompress(phase.watch(layer.open()), layer.what), budget);
    const expected: Expected = { digest: layer.diffId, what: `the content of ${layer.what}` };
    // Of a layer stored plain, `open` has compared this digest already.
    const checked = layer.digest === layer.diffId ? plain : verified(plain, expected);
    try {
      let entry = 0;
      for await (const { header } of readTar(checked)) {
        if (++entries > maxEntries) {
          throw new OciError(
            "ERR_OCI_TOO_LARGE",
            `the layers have more than ${maxEntries} entries`,
          );
        }
        applyEntry(tree, header, index, entry++);
      }
    } catch (error) {
      throw await explained(layer, error);
    }
  }
  return tree;
}

/** The files that are left in the end, by entry number, for each layer. */
function survivors(files: readonly ErofsFile[], layers: number): Map<number, TreeFile>[] {
  const byEntry = Array.from({ length: layers }, () => new Map<number, TreeFile>());
  for (const file of files as readonly TreeFile[]) {
    byEntry[file.source.layer]?.set(file.source.entry, file);
  }
  return byEntry;
}

const inLayerOrder = (a: ErofsFile, b: ErofsFile) => {
  const { source: left } = a as TreeFile;
  const { source: right } = b as TreeFile;
  return left.layer - right.layer || left.entry - right.entry;
};

/**
 * Writes the merged layers of an image as one EROFS image. The layers are read twice: first their
 * headers, to know what is there in the end, while every digest is checked; then the content of the
 * files that are left, straight into the image. What an upper layer deletes leaves no trace in it, and
 * memory holds names and attributes only. Throws {@link OciError} for what is wrong with the image,
 * the `signal`'s reason, and what the output throws.
 */
export async function writeRootfs(
  image: SourceImage,
  output: ErofsOutput,
  options: RootfsOptions = {},
): Promise<RootfsSummary> {
  const { layers } = image;
  const total = layers.reduce((sum, { size }) => sum + size, 0);
  const tree = await scan(layers, options, new Phase("scan", total, options));
  try {
    return await write(image, tree, output, options, new Phase("write", total, options));
  } catch (error) {
    if (!(error instanceof ErofsError)) throw error;
    throw new OciError(
      "ERR_OCI_BAD_LAYER",
      `the layers do not fit an EROFS image: ${error.message}`,
      { cause: error },
    );
  }
}

async function write(
  { digest, layers }: SourceImage,
  { root }: ImageTree,
  output: ErofsOutput,
  options: RootfsOptions,
  phase: Phase,
): Promise<RootfsSummary> {
  const writer = new ErofsWriter(root, output, {
    uuid: options.uuid ?? Buffer.from(splitDigest(digest).hex.slice(0, 32), "hex"),
    compareFiles: inLayerOrder,
  });
  const wanted = survivors(writer.missingFiles, layers.length);
  for (const [index, layer] of layers.entries()) {
    const files = wanted[index];
    if (files === undefined || files.size === 0) continue;
    let entry = 0;
    for await (const { content } of readTar(decompress(phase.watch(layer.open()), layer.what))) {
      const file = files.get(entry++);
      if (file !== undefined) await writer.writeFile(file, content());
    }
  }
  options.signal?.throwIfAborted();
  await writer.finish();
  return { size: writer.size, inodes: writer.inodeCount };
}
