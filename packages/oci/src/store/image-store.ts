import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, join, resolve } from "node:path";
import * as v from "valibot";
import { isDigest, sha256, splitDigest } from "../digest.js";
import { OciError } from "../errors.js";
import type { RootfsProgress } from "../layer/rootfs.js";
import type { ImageConfig } from "../manifest.js";
import { type Platform, parsePlatform } from "../platform.js";
import { canonicalName, isShortNameOf, parseReference } from "../reference.js";
import type { SourceImage } from "../source/image-source.js";
import { replaceFile, syncDirectory, writeDurably } from "./atomic.js";

/** An image in a store, ready to be a root disk. */
export interface StoredImage {
  /** As written when it was imported, without `:latest`. */
  readonly name: string;
  /** Digest of the manifest, or of the config for images of docker archives, which have no manifest. */
  readonly digest: string;
  readonly config: ImageConfig;
  /** Absolute path of the EROFS image; never changed, and there until the image is removed. */
  readonly rootfsPath: string;
  /** Bytes of the EROFS image. */
  readonly size: number;
  /** When the name was given to this image in this store. */
  readonly createdAt: Date;
}

/** {@link ImageStore.import}'s options. */
export interface ImportOptions {
  /** Name in the store; by default the source's own, or one made of the file name. */
  readonly name?: string;
  /** Such as `linux/arm64`; by default Linux on this CPU. */
  readonly platform?: Platform | string;
  /** Called often; it must be quick. */
  readonly onProgress?: (progress: RootfsProgress) => void;
  /** Stops the import with the signal's reason; the store stays as it was. */
  readonly signal?: AbortSignal;
}

/** A temporary directory older than this was left behind by a process that was killed. */
const ABANDONED_MS = 24 * 60 * 60 * 1000;

const nameSchema = v.object({
  name: v.string(),
  digest: v.pipe(v.string(), v.check(isDigest)),
  createdAt: v.string(),
});
const imageSchema = v.object({ config: v.record(v.string(), v.unknown()) });
type NameRecord = v.InferOutput<typeof nameSchema>;

/** The directory used when none is given: `$SUPERMACHINE_HOME`, else `supermachine` in the user's data. */
export function defaultStoreDirectory(): string {
  const { SUPERMACHINE_HOME: home, XDG_DATA_HOME: data } = process.env;
  return home || join(data || join(homedir(), ".local", "share"), "supermachine");
}

/**
 * Imported images in a directory. Any number of processes may use it at once without locks: images and
 * names appear, change and vanish in one step each, so a crash leaves the store whole too.
 *
 * ```text
 * images/<algorithm>-<hex>/{rootfs.erofs,image.json}   one per digest, never changed
 * names/<sha256 of the name>.json                      which image a name stands for
 * temporary/                                           what is not finished
 * ```
 */
export class ImageStore {
  /** Absolute path of the store. */
  readonly directory: string;
  readonly #images: string;
  readonly #names: string;
  readonly #temporary: string;

  /** Does no I/O; the directory is made by the first import. */
  constructor(directory: string = defaultStoreDirectory()) {
    this.directory = resolve(directory);
    this.#images = join(this.directory, "images");
    this.#names = join(this.directory, "names");
    this.#temporary = join(this.directory, "temporary");
  }

  /**
   * Imports an image of an OCI layout or docker archive. `source` is its path, or `path:name` to choose
   * one of several. An image already there is not written again. A failed, stopped or killed import
   * leaves the store as it was. Throws {@link OciError} for what is wrong with the source, and
   * `ERR_OCI_NO_SPACE` when the disk is full.
   */
  async import(source: string, options: ImportOptions = {}): Promise<StoredImage> {
    const { path, selected } = await splitSource(source);
    const platform =
      typeof options.platform === "string" ? parsePlatform(options.platform) : options.platform;
    const given = options.name === undefined ? undefined : canonicalName(options.name);
    // Loaded here: a program that only starts machines reads no tar archives.
    const { openImageSource } = await import("../source/open-image-source.js");
    const image = await (await openImageSource(path)).image({
      ...(selected === undefined ? {} : { name: selected }),
      ...(platform === undefined ? {} : { platform }),
    });
    const name = given ?? nameFor(path, selected, image);
    try {
      for (const directory of [this.#images, this.#names, this.#temporary]) {
        await mkdir(directory, { recursive: true });
      }
      await this.#removeAbandoned();
      for (;;) {
        options.signal?.throwIfAborted();
        if (!(await this.#has(image.digest))) await this.#write(image, options);
        const createdAt = new Date();
        const before = await this.#readName(this.#namePath(name));
        await this.#writeName({ name, digest: image.digest, createdAt: createdAt.toISOString() });
        // Another process may have removed the image's last name just before this one was there.
        if (!(await this.#has(image.digest))) continue;
        if (before && before.digest !== image.digest) await this.#removeIfUnused(before.digest);
        return await this.get(name);
      }
    } catch (error) {
      throw this.#storeError(error);
    }
  }

  /**
   * The image of a name, or of the one longer name that ends in it: `debian:12` also finds
   * `registry.example/library/debian:12`. Throws {@link OciError} `ERR_OCI_IMAGE_NOT_FOUND`, with the
   * names there are, or `ERR_OCI_BAD_REFERENCE`.
   */
  async get(name: string): Promise<StoredImage> {
    const wanted = canonicalName(name);
    const record = await this.#readName(this.#namePath(wanted));
    const image = record && (await this.#load(record));
    if (image !== undefined) return image;
    const images = await this.list();
    const [longer, another] = images.filter((candidate) => isShortNameOf(wanted, candidate.name));
    if (longer !== undefined && another === undefined) return longer;
    throw this.#notFound(wanted, images);
  }

  /** All images by name, sorted; an image of several names comes once for each. */
  async list(): Promise<StoredImage[]> {
    const records = await Promise.all(
      (await this.#files(this.#names)).map((file) => this.#readName(join(this.#names, file))),
    );
    const images = await Promise.all(records.map((record) => record && this.#load(record)));
    return images.filter((image) => image !== undefined).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * Removes a name, and its image when that was the last one. Machines that use it keep it open and
   * run on. Finds the name as {@link ImageStore.get} does, and throws the same.
   */
  async remove(name: string): Promise<void> {
    const image = await this.get(name);
    try {
      await rm(this.#namePath(image.name), { force: true });
      await this.#removeIfUnused(image.digest);
    } catch (error) {
      throw this.#storeError(error);
    }
  }

  #imagePath(digest: string): string {
    return join(this.#images, digest.replace(":", "-"));
  }

  #namePath(name: string): string {
    // Names may be longer than file names and differ from each other only in case.
    return join(this.#names, `${splitDigest(sha256(Buffer.from(name))).hex}.json`);
  }

  async #has(digest: string): Promise<boolean> {
    return (await statOrUndefined(join(this.#imagePath(digest), "image.json"))) !== undefined;
  }

  async #write(image: SourceImage, options: ImportOptions): Promise<void> {
    const { writeRootfs } = await import("../layer/rootfs.js");
    const { fileOutput } = await import("@supermachine/erofs/file");
    const draft = join(this.#temporary, randomUUID());
    await mkdir(draft);
    try {
      const handle = await open(join(draft, "rootfs.erofs"), "wx", 0o644);
      try {
        await writeRootfs(image, fileOutput(handle), options);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await writeDurably(join(draft, "image.json"), JSON.stringify({ config: image.config }));
      await syncDirectory(draft);
      try {
        await rename(draft, this.#imagePath(image.digest));
      } catch (error) {
        // Another import was faster; its files have the same bytes.
        if (!(await this.#has(image.digest))) throw error;
      }
      await syncDirectory(this.#images);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }

  async #writeName(record: NameRecord): Promise<void> {
    await replaceFile(this.#namePath(record.name), JSON.stringify(record), this.#temporary);
  }

  async #readName(path: string): Promise<NameRecord | undefined> {
    const result = v.safeParse(nameSchema, await readJson(path));
    return result.success ? result.output : undefined;
  }

  async #load({ name, digest, createdAt }: NameRecord): Promise<StoredImage | undefined> {
    const directory = this.#imagePath(digest);
    const rootfsPath = join(directory, "rootfs.erofs");
    const result = v.safeParse(imageSchema, await readJson(join(directory, "image.json")));
    const size = (await statOrUndefined(rootfsPath))?.size;
    if (!result.success || size === undefined) return undefined;
    // Written by this class from a checked config.
    const config = result.output.config as unknown as ImageConfig;
    return { name, digest, config, rootfsPath, size, createdAt: new Date(createdAt) };
  }

  async #files(directory: string): Promise<string[]> {
    try {
      return await readdir(directory);
    } catch (error) {
      if (isMissing(error)) return [];
      throw this.#storeError(error);
    }
  }

  async #isUsed(digest: string): Promise<boolean> {
    for (const file of await this.#files(this.#names)) {
      if ((await this.#readName(join(this.#names, file)))?.digest === digest) return true;
    }
    return false;
  }

  /**
   * Removes an image without names. It is set aside first and looked for again: an import that named it
   * meanwhile either gets it back here, or finds it gone and writes it anew.
   */
  async #removeIfUnused(digest: string): Promise<void> {
    if (await this.#isUsed(digest)) return;
    const aside = join(this.#temporary, randomUUID());
    try {
      await mkdir(this.#temporary, { recursive: true });
      await rename(this.#imagePath(digest), aside);
    } catch (error) {
      if (isMissing(error)) return;
      throw error;
    }
    if (await this.#isUsed(digest)) {
      try {
        await rename(aside, this.#imagePath(digest));
        return;
      } catch (error) {
        if (!(await this.#has(digest))) throw error;
      }
    }
    await rm(aside, { recursive: true, force: true });
  }

  async #removeAbandoned(): Promise<void> {
    for (const file of await this.#files(this.#temporary)) {
      const path = join(this.#temporary, file);
      const stats = await statOrUndefined(path);
      if (stats !== undefined && Date.now() - stats.mtimeMs > ABANDONED_MS) {
        await rm(path, { recursive: true, force: true });
      }
    }
  }

  #notFound(name: string, images: readonly StoredImage[]): OciError {
    const names = images.map((image) => image.name);
    const there = names.length === 0 ? "the store is empty" : `there are ${names.join(", ")}`;
    return new OciError(
      "ERR_OCI_IMAGE_NOT_FOUND",
      `there is no image ${name} in ${this.directory}: ${there}; import one from an OCI layout or a "docker save" archive with store.import(path, { name: ${JSON.stringify(name)} })`,
    );
  }

  /** Explains failures of the disk; everything else passes as it is. */
  #storeError(error: unknown): unknown {
    if (!(error instanceof Error) || error instanceof OciError) return error;
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (code === "ENOSPC" || code === "EDQUOT") {
      return new OciError(
        "ERR_OCI_NO_SPACE",
        `the disk of ${this.directory} is full; free some space or set SUPERMACHINE_HOME to another disk`,
        { cause: error },
      );
    }
    if (syscall === undefined) return error;
    return new OciError(
      "ERR_OCI_STORE",
      `the image store ${this.directory} could not be used: ${error.message}`,
      { cause: error },
    );
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

async function statOrUndefined(path: string) {
  try {
    return await stat(path);
  } catch {
    return undefined;
  }
}

/** A file that is missing or damaged is as good as none. */
async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch {
    return undefined;
  }
}

/** A path that exists is taken as it is, whatever colons it has. */
async function splitSource(source: string): Promise<{ path: string; selected?: string }> {
  if ((await statOrUndefined(source)) !== undefined) return { path: source };
  for (let colon = source.indexOf(":"); colon !== -1; colon = source.indexOf(":", colon + 1)) {
    const path = source.slice(0, colon);
    const selected = source.slice(colon + 1);
    if (selected !== "" && (await statOrUndefined(path)) !== undefined) return { path, selected };
  }
  return { path: source };
}

/**
 * The source's own name when it is a full one; a bare tag, as OCI layouts have, goes behind the name of
 * the file: `latest` in `debian.tar` is `debian`.
 */
function nameFor(path: string, selected: string | undefined, { names }: SourceImage): string {
  const own = selected ?? names[0];
  if (own !== undefined && /[/:]/.test(own)) return canonicalName(own);
  const file = basename(resolve(path))
    .replace(/\.(oci|tar|docker|oci-archive)+$/gi, "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "");
  const { repository } = parseReference(file === "" ? "image" : file);
  return canonicalName(own === undefined ? repository : `${repository}:${own}`);
}
