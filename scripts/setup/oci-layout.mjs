// @ts-check
// A directory tree as an OCI image layout with one layer (OCI Image Layout Specification 1.0).
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { run } from "../command.mjs";

const OCI = "application/vnd.oci.image";

/**
 * @param {object} image
 * @param {string} image.rootfs
 * @param {string} image.layout directory to write
 * @param {string} image.tag
 * @param {{ Cmd?: string[], Env?: string[], WorkingDir?: string }} image.config
 */
export async function writeOciLayout({ rootfs, layout, tag, config }) {
  const blobs = join(layout, "blobs", "sha256");
  await mkdir(blobs, { recursive: true });
  const addBlob = async (/** @type {string} */ mediaType, /** @type {Buffer} */ bytes) => {
    const hex = createHash("sha256").update(bytes).digest("hex");
    await writeFile(join(blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const addDocument = (/** @type {string} */ mediaType, /** @type {object} */ document) =>
    addBlob(mediaType, Buffer.from(JSON.stringify(document)));

  const tar = await readTar(rootfs, join(layout, "layer.tar"));
  const diffId = `sha256:${createHash("sha256").update(tar).digest("hex")}`;
  const layer = await addBlob(`${OCI}.layer.v1.tar+gzip`, gzipSync(tar, { level: 9 }));
  const configuration = await addDocument(`${OCI}.config.v1+json`, {
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    config,
    rootfs: { type: "layers", diff_ids: [diffId] },
  });
  const manifest = await addDocument(`${OCI}.manifest.v1+json`, {
    schemaVersion: 2,
    mediaType: `${OCI}.manifest.v1+json`,
    config: configuration,
    layers: [layer],
  });
  await writeFile(join(layout, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  await writeFile(
    join(layout, "index.json"),
    JSON.stringify({
      schemaVersion: 2,
      manifests: [{ ...manifest, annotations: { "org.opencontainers.image.ref.name": tag } }],
    }),
  );
  return manifest.digest;
}

/**
 * The same tree gives the same bytes, hence the same digests.
 *
 * @param {string} tree
 * @param {string} temporary
 */
async function readTar(tree, temporary) {
  await run("tar", [
    ...["--create", "--file", temporary, "--directory", tree, "--format=posix", "--sort=name"],
    ...["--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"],
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
    ".",
  ]);
  const tar = await readFile(temporary);
  await rm(temporary);
  return tar;
}
