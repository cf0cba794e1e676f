import { OciError } from "../errors.js";
import { MAX_DOCUMENT } from "../manifest.js";
import { dockerArchive } from "./docker-archive.js";
import { openFiles, readSmall } from "./files.js";
import type { ImageSource } from "./image-source.js";
import { ociLayout } from "./oci-layout.js";

/**
 * Opens an OCI image layout (a directory or a tar archive of one), or an archive of `docker save`,
 * `podman save` or `skopeo copy ... docker-archive:`. Throws {@link OciError} `ERR_OCI_BAD_SOURCE`
 * when the path is none of these.
 */
export async function openImageSource(path: string): Promise<ImageSource> {
  const files = await openFiles(path);
  // `docker save` writes both forms since version 25; the layout says more.
  const index = await readSmall(files, "index.json", MAX_DOCUMENT);
  if (index !== undefined) return ociLayout(path, files, index);
  const manifest = await readSmall(files, "manifest.json", MAX_DOCUMENT);
  if (manifest !== undefined) return dockerArchive(path, files, manifest);
  throw new OciError(
    "ERR_OCI_BAD_SOURCE",
    `${path} has neither index.json (an OCI image layout) nor manifest.json (a docker archive); make one with "docker save" or "skopeo copy"`,
  );
}
