import { type Digest, splitDigest, verified } from "../digest.js";
import { OciError } from "../errors.js";
import {
  type Descriptor,
  indexTypes,
  MAX_DOCUMENT,
  manifestTypes,
  parseConfig,
  parseIndex,
  parseManifest,
} from "../manifest.js";
import { defaultPlatform, formatPlatform, type Platform, platformMatches } from "../platform.js";
import { chooseImage, type Named, sourceNames } from "./choose-image.js";
import { collect, type SourceFiles } from "./files.js";
import type { ImageLayer, ImageSource, SourceImage } from "./image-source.js";

/** Indexes may point to indexes; real images do so once. */
const MAX_NESTING = 4;
/** Manifests looked at for one image. */
const MAX_MANIFESTS = 1000;

const blobPath = (digest: Digest) => {
  const { algorithm, hex } = splitDigest(digest);
  return `blobs/${algorithm}/${hex}`;
};

/** The images of an OCI image layout, from the bytes of its `index.json`. */
export function ociLayout(path: string, files: SourceFiles, index: Uint8Array): ImageSource {
  const roots = parseIndex(index, "index.json");
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
      return reader.image(chooseImage(path, candidates, name), platform);
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
        for (const child of nested.reverse()) {
          pending.push({ item: child, names, depth: depth + 1 });
        }
      } else if (manifestTypes.has(item.mediaType) || item.mediaType === "") {
        const image = await this.#manifest(item, names);
        const own = item.platform ?? image.config.platform;
        if (platformMatches(platform, own)) return image;
        offered.add(formatPlatform(own));
      }
    }
    throw new OciError(
      "ERR_OCI_PLATFORM_MISSING",
      `${this.#path} has no image for ${formatPlatform(platform)}; it has ${[...offered].sort().join(", ") || "none at all"}`,
    );
  }

  async #document({ digest, size }: Descriptor, what: string): Promise<Uint8Array> {
    if (size > MAX_DOCUMENT) {
      throw new OciError(
        "ERR_OCI_TOO_LARGE",
        `${what} (${digest}) has ${size} bytes, more than ${MAX_DOCUMENT}`,
      );
    }
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
