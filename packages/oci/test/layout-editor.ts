import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

interface Pointer {
  mediaType: string;
  digest: string;
  size: number;
}

/** The part of a manifest that tests change. */
export interface EditableManifest {
  config: Pointer;
  layers: Pointer[];
}

/** The blobs of a layout. */
export interface Blobs {
  get(digest: string): Buffer;
  /** Stores a blob and returns what points to it. */
  add(bytes: Uint8Array): { digest: string; size: number };
}

/** Opens the blobs of a layout directory. */
export function openBlobs(path: string): Blobs {
  const file = (digest: string) => join(path, "blobs", digest.replace(":", "/"));
  return {
    get: (digest) => readFileSync(file(digest)),
    add(bytes) {
      const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
      writeFileSync(file(digest), bytes);
      return { digest, size: bytes.length };
    },
  };
}

/** Changes the first manifest of a layout directory, and its index to match. */
export function editLayout(
  path: string,
  edit: (manifest: EditableManifest, blobs: Blobs) => void,
): void {
  const blobs = openBlobs(path);
  const indexPath = join(path, "index.json");
  const index: { manifests: [Pointer] } = JSON.parse(readFileSync(indexPath, "utf8"));
  const [pointer] = index.manifests;
  const manifest: EditableManifest = JSON.parse(blobs.get(pointer.digest).toString());
  edit(manifest, blobs);
  Object.assign(pointer, blobs.add(Buffer.from(JSON.stringify(manifest))));
  writeFileSync(indexPath, JSON.stringify(index));
}
