import { type Digest, isDigest, sha256, splitDigest, verified } from "../digest.js";
import { OciError } from "../errors.js";
import { decompress } from "../layer/decompress.js";
import {
  type Descriptor,
  type ImageConfig,
  indexTypes,
  MAX_DOCUMENT,
  manifestTypes,
  parseConfig,
  parseDockerManifest,
  parseIndex,
  parseManifest,
} from "../manifest.js";
import { defaultPlatform, formatPlatform, type Platform, platformMatches } from "../platform.js";
import { isSameName, isShortNameOf } from "../reference.js";
import { collect, openFiles, readSmall, type SourceFiles } from "./files.js";

/** One layer of an image in a source. */
export interface ImageLayer {
  /** Digest of the layer as stored, or of its content when it is stored plain. */
  readonly digest: Digest;
  /** Digest of the uncompressed tar archive. */
  readonly diffId: Digest;
  /** Bytes as stored. */
  readonly size: number;
  /** What it is called in errors. */
  readonly what: string;
  /** Streams it, and throws at the end when it is not what `digest` says. */
  open(): AsyncIterable<Uint8Array>;
}

/** An image in a source, its manifest and config checked. */
export interface SourceImage {
  /**
   * Digest of its manifest. A docker archive has none; then it is that of the config, which names the
   * content of all layers as well.
   */
  readonly digest: Digest;
  readonly config: ImageConfig;
  /** Lowest first. */
  readonly layers: readonly ImageLayer[];
  /** Names the source has for it. */
  readonly names: readonly string[];
}

/** Which image of a source is wanted. */
export interface ImageSelector {
  /** A name or tag the source has for it; needed when there are several. */
  readonly name?: string;
  /** The platform, by default Linux on this CPU. */
  readonly platform?: Platform;
}

/** Images in a directory or archive. It holds nothing open. */
export interface ImageSource {
  readonly kind: "oci" | "docker-archive";
  /** Every name the source has for its images, sorted. */
  readonly names: readonly string[];
  /**
   * Finds an image and checks its manifest and config. Throws {@link OciError}
   * `ERR_OCI_CHOOSE_IMAGE`, `ERR_OCI_PLATFORM_MISSING`, `ERR_OCI_BAD_MANIFEST`,
   * `ERR_OCI_DIGEST_MISMATCH`, `ERR_OCI_SIZE_MISMATCH`, `ERR_OCI_UNSUPPORTED_MEDIA`.
   */
  image(selector?: ImageSelector): Promise<SourceImage>;
}

/** Indexes may point to indexes; real images do so once. */
const MAX_NESTING = 4;
/** Manifests looked at for one image. */
const MAX_MANIFESTS = 1000;

/** A candidate with the names it goes by. */
interface Named<T> {
  readonly names: readonly string[];
  readonly item: T;
}

/**
 * Opens an OCI image layout (a directory or a tar archive of one), or an archive of `docker save`,
 * `podman save` or `skopeo copy ... docker-archive:`. Throws {@link OciError} `ERR_OCI_BAD_SOURCE`
 * when the path is none of these.
 */
export async function openImageSource(path: string): Promise<ImageSource> {
  const files = await openFiles(path);
  // `docker save` writes both forms since version 25; the layout says more.
  const index = await readSmall(files, "index.json", MAX_DOCUMENT);
  if (index !== undefined) return layoutSource(path, files, parseIndex(index, "index.json"));
  const manifest = await readSmall(files, "manifest.json", MAX_DOCUMENT);
  if (manifest !== undefined) return dockerSource(path, files, manifest);
  throw new OciError(
    "ERR_OCI_BAD_SOURCE",
    `${path} has neither index.json (an OCI image layout) nor manifest.json (a docker archive); make one with "docker save" or "skopeo copy"`,
  );
}

function sourceNames<T>(candidates: readonly Named<T>[]): string[] {
  return [...new Set(candidates.flatMap(({ names }) => names))].sort();
}

/** The candidates of the wanted name: those called so, or, without a name, all if they are one image. */
function choose<T>(
  path: string,
  candidates: readonly Named<T>[],
  name: string | undefined,
): Named<T>[] {
  const names = sourceNames(candidates);
  const listed = names.length === 0 ? "its images have no names" : `it has ${names.join(", ")}`;
  if (name !== undefined) {
    for (const matches of [isSameName, isShortNameOf]) {
      const chosen = candidates.filter(({ names }) => names.some((own) => matches(name, own)));
      if (chosen.length > 0) return chosen;
    }
    throw new OciError(
      "ERR_OCI_CHOOSE_IMAGE",
      `${path} has no image named ${JSON.stringify(name)}; ${listed}`,
    );
  }
  const identities = new Set(candidates.map((candidate) => candidate.names[0]));
  if (identities.size <= 1) return [...candidates];
  throw new OciError(
    "ERR_OCI_CHOOSE_IMAGE",
    `${path} holds several images; ${listed}; choose one by its name`,
  );
}

const blobPath = (digest: Digest) => {
  const { algorithm, hex } = splitDigest(digest);
  return `blobs/${algorithm}/${hex}`;
};

function layoutSource(path: string, files: SourceFiles, roots: readonly Descriptor[]): ImageSource {
  const candidates = roots.map((item) => {
    const { annotations } = item;
    const names = [
      annotations["org.opencontainers.image.ref.name"],
      annotations["io.containerd.image.name"],
    ];
    return { item, names: [...new Set(names.filter((name) => name !== undefined))] };
  });
  const reader = new LayoutReader(path, files);
  return {
    kind: "oci",
    names: sourceNames(candidates),
    async image({ name, platform = defaultPlatform() } = {}) {
      const chosen = choose(path, candidates, name);
      return reader.image(chosen, platform);
    },
  };
}

class LayoutReader {
  readonly #path: string;
  readonly #files: SourceFiles;

  constructor(path: string, files: SourceFiles) {
    this.#path = path;
    this.#files = files;
  }

  /** Looks through manifests and nested indexes for the platform. */
  async image(roots: readonly Named<Descriptor>[], platform: Platform): Promise<SourceImage> {
    const offered = new Set<string>();
    const pending = roots.map(({ item, names }) => ({ item, names, depth: 0 })).reverse();
    let seen = 0;
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { item, names, depth } = next;
      if (++seen > MAX_MANIFESTS || depth > MAX_NESTING) {
        throw new OciError(
          "ERR_OCI_TOO_LARGE",
          `${this.#path} has too many or too deeply nested manifests`,
        );
      }
      if (item.platform !== undefined && !indexTypes.has(item.mediaType)) {
        // Attestations are listed as manifests of an unknown platform.
        if (item.platform.os !== "unknown") offered.add(formatPlatform(item.platform));
        if (!platformMatches(platform, item.platform)) continue;
      }
      if (indexTypes.has(item.mediaType)) {
        const nested = parseIndex(
          await this.#document(item, "an index"),
          `the index ${item.digest}`,
        );
        for (const child of nested.reverse())
          pending.push({ item: child, names, depth: depth + 1 });
      } else if (manifestTypes.has(item.mediaType) || item.mediaType === "") {
        const image = await this.#manifest(item, names);
        if (item.platform !== undefined || platformMatches(platform, image.config.platform))
          return image;
        offered.add(formatPlatform(image.config.platform));
      }
    }
    throw new OciError(
      "ERR_OCI_PLATFORM_MISSING",
      `${this.#path} has no image for ${formatPlatform(platform)}; it has ${[...offered].sort().join(", ") || "none at all"}`,
    );
  }

  async #document({ digest, size }: Descriptor, what: string): Promise<Uint8Array> {
    if (size > MAX_DOCUMENT)
      throw new OciError(
        "ERR_OCI_TOO_LARGE",
        `${what} (${digest}) has ${size} bytes, more than ${MAX_DOCUMENT}`,
      );
    return collect(this.#blob({ digest, size }, what), MAX_DOCUMENT, what);
  }

  async *#blob(
    { digest, size }: { digest: Digest; size: number },
    what: string,
  ): AsyncGenerator<Uint8Array> {
    const path = blobPath(digest);
    if ((await this.#files.size(path)) === undefined) {
      throw new OciError(
        "ERR_OCI_BAD_SOURCE",
        `${this.#path} lacks ${what}, which should be ${path}; copy the image again`,
      );
    }
    yield* verified(this.#files.open(path), { digest, size, what });
  }

  async #manifest(descriptor: Descriptor, names: readonly string[]): Promise<SourceImage> {
    const { digest } = descriptor;
    const bytes = await this.#document(descriptor, "a manifest");
    const manifest = parseManifest(bytes, `the manifest ${digest}`);
    const configBytes = await this.#document(manifest.config, "a config");
    const { config, diffIds } = parseConfig(configBytes, `the config ${manifest.config.digest}`);
    if (diffIds.length !== manifest.layers.length) {
      throw new OciError(
        "ERR_OCI_BAD_MANIFEST",
        `the manifest ${digest} has ${manifest.layers.length} layers, but its config names ${diffIds.length}`,
      );
    }
    const layers = manifest.layers.map((layer, index): ImageLayer => {
      const what = `layer ${index + 1} of ${manifest.layers.length}`;
      return {
        digest: layer.digest,
        diffId: diffIds[index] ?? layer.digest,
        size: layer.size,
        what,
        open: () => this.#blob(layer, what),
      };
    });
    return { digest, config, layers, names };
  }
}

function dockerSource(path: string, files: SourceFiles, bytes: Uint8Array): ImageSource {
  const candidates = parseDockerManifest(bytes).map((item) => ({ item, names: item.tags }));
  const lacks = (file: string) =>
    new OciError(
      "ERR_OCI_BAD_SOURCE",
      `${path} lacks ${file}, which its manifest.json names; save the image again`,
    );
  return {
    kind: "docker-archive",
    names: sourceNames(candidates),
    async image({ name, platform = defaultPlatform() } = {}) {
      const offered: string[] = [];
      for (const { item, names } of choose(path, candidates, name)) {
        const document = await readSmall(files, item.config, MAX_DOCUMENT);
        if (document === undefined) throw lacks(item.config);
        const digest = sha256(document);
        const claimed = /([0-9a-f]{64})(?:\.json)?$/.exec(item.config)?.[1];
        if (
          claimed !== undefined &&
          isDigest(`sha256:${claimed}`) &&
          digest !== `sha256:${claimed}`
        ) {
          throw new OciError(
            "ERR_OCI_DIGEST_MISMATCH",
            `the config ${item.config} has the digest ${digest}; save the image again`,
          );
        }
        const { config, diffIds } = parseConfig(document, `the config ${item.config}`);
        if (diffIds.length !== item.layers.length) {
          throw new OciError(
            "ERR_OCI_BAD_MANIFEST",
            `manifest.json has ${item.layers.length} layers, but ${item.config} names ${diffIds.length}`,
          );
        }
        offered.push(formatPlatform(config.platform));
        if (!platformMatches(platform, config.platform)) continue;
        const layers: ImageLayer[] = [];
        for (const [index, file] of item.layers.entries()) {
          const size = await files.size(file);
          const diffId = diffIds[index];
          if (size === undefined || diffId === undefined) throw lacks(file);
          const what = `layer ${index + 1} of ${item.layers.length}`;
          // Only the digest of the content is known, so what is compared is decompressed already.
          const open = () => verified(decompress(files.open(file), what), { digest: diffId, what });
          layers.push({ digest: diffId, diffId, size, what, open });
        }
        return { digest, config, layers, names };
      }
      throw new OciError(
        "ERR_OCI_PLATFORM_MISSING",
        `${path} has no image for ${formatPlatform(platform)}; it has ${offered.join(", ") || "none at all"}`,
      );
    },
  };
}
