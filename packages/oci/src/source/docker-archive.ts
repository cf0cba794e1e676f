import { isDigest, sha256, verified } from "../digest.js";
import { OciError } from "../errors.js";
import { decompress } from "../layer/decompress.js";
import { MAX_DOCUMENT, parseConfig, parseDockerManifest } from "../manifest.js";
import { defaultPlatform, formatPlatform, platformMatches } from "../platform.js";
import { chooseImage, sourceNames } from "./choose-image.js";
import { readSmall, type SourceFiles } from "./files.js";
import type { ImageLayer, ImageSource, SourceImage } from "./image-source.js";

type DockerImage = ReturnType<typeof parseDockerManifest>[number];

/** The images of an archive of `docker save`, from the bytes of its `manifest.json`. */
export function dockerArchive(path: string, files: SourceFiles, manifest: Uint8Array): ImageSource {
  const candidates = parseDockerManifest(manifest).map((item) => ({ item, names: item.tags }));
  return {
    kind: "docker-archive",
    names: sourceNames(candidates),
    async image({ name, platform = defaultPlatform() } = {}) {
      const offered: string[] = [];
      for (const { item } of chooseImage(path, candidates, name)) {
        const image = await readImage(path, files, item);
        if (platformMatches(platform, image.config.platform)) return image;
        offered.push(formatPlatform(image.config.platform));
      }
      throw new OciError(
        "ERR_OCI_PLATFORM_MISSING",
        `${path} has no image for ${formatPlatform(platform)}; it has ${offered.join(", ") || "none at all"}`,
      );
    },
  };
}

async function readImage(
  path: string,
  files: SourceFiles,
  item: DockerImage,
): Promise<SourceImage> {
  const lacks = (file: string) =>
    new OciError(
      "ERR_OCI_BAD_SOURCE",
      `${path} lacks ${file}, which its manifest.json names; save the image again`,
    );
  const document = await readSmall(files, item.config, MAX_DOCUMENT);
  if (document === undefined) throw lacks(item.config);
  const digest = sha256(document);
  const claimed = `sha256:${/([0-9a-f]{64})(?:\.json)?$/.exec(item.config)?.[1]}`;
  if (isDigest(claimed) && digest !== claimed) {
    throw new OciError(
      "ERR_OCI_DIGEST_MISMATCH",
      `the config ${item.config} has the digest ${digest}; the image is damaged, save it again`,
    );
  }
  const { config, diffIds } = parseConfig(document, `the config ${item.config}`);
  if (diffIds.length !== item.layers.length) {
    throw new OciError(
      "ERR_OCI_BAD_MANIFEST",
      `manifest.json has ${item.layers.length} layers, but ${item.config} names ${diffIds.length}`,
    );
  }
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
  return { digest, config, layers, names: item.tags };
}
