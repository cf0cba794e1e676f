import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { requireFacility } from "@supermachine-internal/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ImageStore } from "../src/index.js";
import { editLayout } from "./layout-editor.js";
import { listTree, makeLayout, run, withMount } from "./real-tools.js";

const { describe } = requireFacility(
  "erofs",
  "program:umoci",
  "program:skopeo",
  "program:zstd",
  "program:busybox",
  "program:setfattr",
  "program:fsck.erofs",
);

const zstd = (tar: Buffer) => execFileSync("zstd", ["-q"], { input: tar, maxBuffer: 1 << 28 });

/** Stores the layers of a layout in another compression. */
function recompress(path: string, mediaType: string, compress: (tar: Buffer) => Buffer): void {
  editLayout(path, (manifest, blobs) => {
    for (const layer of manifest.layers) {
      Object.assign(layer, blobs.add(compress(gunzipSync(blobs.get(layer.digest)))), { mediaType });
    }
  });
}

describe("images of real tools", () => {
  let directory: string;
  let layout: string;
  let expected: string[];
  let store: ImageStore;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "oci-test-"));
    layout = makeLayout(directory);
    run("umoci", "unpack", "--image", `${layout}:latest`, join(directory, "reference"));
    expected = listTree(join(directory, "reference", "rootfs"));
    store = new ImageStore(join(directory, "store"));
  }, 120_000);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const imported = async (source: string, name: string) => {
    const image = await store.import(source, { name });
    return { image, listed: withMount(image.rootfsPath, join(directory, "mount"), listTree) };
  };

  test("an OCI layout becomes the tree that umoci unpacks", async () => {
    const { image, listed } = await imported(layout, "layout");
    expect(expected.length).toBeGreaterThan(400);
    expect(expected.join("\n")).toContain("security.capability=0x01000002");
    expect(listed).toEqual(expected);
    expect(image.config).toMatchObject({
      cmd: ["/bin/sh"],
      env: { A: "1", B: "x=y" },
      workdir: "/tmp",
      user: "123:456",
      exposedPorts: ["80/tcp"],
      labels: { k: "v" },
      stopSignal: "SIGINT",
    });
  });

  test.each([
    ["an OCI archive", "oci-archive", ".oci.tar"],
    ["a docker archive", "docker-archive", ".tar"],
  ])("%s becomes the same tree", async (_, transport, suffix) => {
    const archive = join(directory, `archive${suffix}`);
    run("skopeo", "copy", `oci:${layout}:latest`, `${transport}:${archive}:demo/app:1.0`);
    const { listed } = await imported(archive, transport);
    expect(listed).toEqual(expected);
    const own = await store.import(`${archive}:demo/app:1.0`);
    expect(own.name).toMatch(/demo\/app:1.0$/);
    expect((await store.get("demo/app:1.0")).digest).toBe(own.digest);
    await expect(store.import(`${archive}:other`)).rejects.toMatchObject({
      code: "ERR_OCI_CHOOSE_IMAGE",
    });
  });

  test.each([
    ["plain", "", (tar: Buffer) => tar],
    ["zstd", "+zstd", zstd],
    [
      "zstd behind a skippable frame",
      "+zstd",
      (tar: Buffer) => Buffer.concat([Buffer.from("502a4d180300000000ffff", "hex"), zstd(tar)]),
    ],
    [
      "gzip in two members",
      "+gzip",
      (tar: Buffer) =>
        Buffer.concat([gzipSync(tar.subarray(0, 5000)), gzipSync(tar.subarray(5000))]),
    ],
  ])("layers stored as %s become the same tree", async (format, suffix, compress) => {
    const name = format.replaceAll(" ", "-");
    const copy = join(directory, name);
    cpSync(layout, copy, { recursive: true });
    recompress(copy, `application/vnd.oci.image.layer.v1.tar${suffix}`, compress);
    const { listed } = await imported(copy, name);
    expect(listed).toEqual(expected);
  });

  test("the same layers give the same bytes, and nothing is left behind", async () => {
    const other = new ImageStore(join(directory, "other"));
    const [first, second] = [await store.import(layout), await other.import(layout)];
    run("cmp", first.rootfsPath, second.rootfsPath);
    expect(first.name).toBe("layout");
    expect(readdirSync(join(other.directory, "temporary"))).toEqual([]);
    run("fsck.erofs", "--extract", first.rootfsPath);
  });
});
