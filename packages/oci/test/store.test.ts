import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { openDescriptors, requireFacility } from "@supermachine-internal/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { defaultStoreDirectory, ImageStore, openImageSource } from "../src/index.js";
import { tarOf } from "./layer-fixtures.js";
import { editLayout, openBlobs } from "./layout-editor.js";

const index = "application/vnd.oci.image.index.v1+json";
const manifestType = "application/vnd.oci.image.manifest.v1+json";
const layerType = "application/vnd.oci.image.layer.v1.tar+gzip";

interface Wanted {
  readonly architecture?: string;
  readonly content?: string;
}

/** Adds an image of one layer with one file to a layout and returns its descriptor. */
async function addImage(path: string, { architecture = "amd64", content = "hello" }: Wanted) {
  const blobs = openBlobs(path);
  const tar = await tarOf({ name: "file", content });
  const diffId = blobs.add(tar).digest;
  const config = blobs.add(
    Buffer.from(
      JSON.stringify({
        os: "linux",
        architecture,
        rootfs: { type: "layers", diff_ids: [diffId] },
        config: { Cmd: ["/file"] },
      }),
    ),
  );
  const layer = { mediaType: layerType, ...blobs.add(gzipSync(tar)) };
  const manifest = {
    schemaVersion: 2,
    mediaType: manifestType,
    config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config },
    layers: [layer],
  };
  return { mediaType: manifestType, ...blobs.add(Buffer.from(JSON.stringify(manifest))) };
}

function writeIndex(path: string, manifests: object[]): void {
  writeFileSync(join(path, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }));
}

function emptyLayout(path: string): string {
  mkdirSync(join(path, "blobs", "sha256"), { recursive: true });
  writeFileSync(join(path, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  return path;
}

const named = (descriptor: object, name: string) => ({
  ...descriptor,
  annotations: { "org.opencontainers.image.ref.name": name },
});

let directory: string;
let layout: string;
let store: ImageStore;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "oci-store-"));
  layout = emptyLayout(join(directory, "layout"));
  writeIndex(layout, [named(await addImage(layout, {}), "latest")]);
  store = new ImageStore(join(directory, "store"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const linux = { platform: "linux/amd64" };
const files = (path: string): string[] =>
  readdirSync(path, { recursive: true, encoding: "utf8" }).sort();

test("an imported image is found by name, listed and removed with its files", async () => {
  const image = await store.import(layout, { ...linux, name: "demo" });
  expect(image).toMatchObject({ name: "demo", config: { cmd: ["/file"] }, size: 4096 });
  expect(readFileSync(image.rootfsPath).length).toBe(image.size);
  expect(Date.now() - image.createdAt.getTime()).toBeLessThan(60_000);
  expect(await store.get("demo:latest")).toEqual(image);
  expect(await store.list()).toEqual([image]);
  await store.remove("demo");
  expect(await store.list()).toEqual([]);
  expect(files(store.directory)).toEqual(["images", "names", "temporary"]);
});

test("one image under two names is stored once, and goes with the last name", async () => {
  const first = await store.import(layout, { ...linux, name: "one" });
  const second = await store.import(layout, { ...linux, name: "two:2" });
  expect(second.rootfsPath).toBe(first.rootfsPath);
  await store.remove("one");
  expect((await store.get("two:2")).size).toBe(4096);
  await store.remove("two:2");
  expect(readdirSync(join(store.directory, "images"))).toEqual([]);
});

test("a name given to another image lets the old one go", async () => {
  const old = await store.import(layout, { ...linux, name: "demo" });
  writeIndex(layout, [await addImage(layout, { content: "other" })]);
  const image = await store.import(layout, { ...linux, name: "demo" });
  expect(image.digest).not.toBe(old.digest);
  expect(readdirSync(join(store.directory, "images"))).toHaveLength(1);
});

test("an unknown name is answered with the names there are and how to import", async () => {
  await expect(store.get("demo")).rejects.toMatchObject({
    code: "ERR_OCI_IMAGE_NOT_FOUND",
    message: expect.stringMatching(/empty.*import/),
  });
  await store.import(layout, { ...linux, name: "other" });
  await expect(store.get("demo")).rejects.toMatchObject({
    message: expect.stringContaining("there are other"),
  });
  await expect(store.remove("demo")).rejects.toMatchObject({ code: "ERR_OCI_IMAGE_NOT_FOUND" });
  await expect(store.get("No Name")).rejects.toMatchObject({ code: "ERR_OCI_BAD_REFERENCE" });
});

test("many imports at once, also of other processes' names, all succeed", async () => {
  const images = await Promise.all(
    Array.from({ length: 8 }, (_, at) =>
      store.import(layout, { ...linux, name: `name-${at % 4}` }),
    ),
  );
  expect(new Set(images.map(({ rootfsPath }) => rootfsPath)).size).toBe(1);
  expect(await store.list()).toHaveLength(4);
  expect(readdirSync(join(store.directory, "temporary"))).toEqual([]);
});

test("imports and removals at once never leave a name without its image", async () => {
  for (let round = 0; round < 20; round++) {
    await store.import(layout, { ...linux, name: "a" });
    const other = new ImageStore(store.directory);
    await Promise.all([store.remove("a"), other.import(layout, { ...linux, name: "b" })]);
    expect((await other.list()).map(({ name }) => name)).toEqual(["b"]);
    await store.remove("b");
  }
});

test("a stopped import leaves the store as it was", async () => {
  await store.import(layout, { ...linux, name: "kept" });
  writeIndex(layout, [await addImage(layout, { content: "x".repeat(1_000_000) })]);
  const before = files(store.directory);
  for (const phase of ["scan", "write"]) {
    const stop = new AbortController();
    const onProgress = (progress: { phase: string; done: number }) => {
      if (progress.phase === phase) stop.abort(new Error("stopped"));
    };
    await expect(
      store.import(layout, { ...linux, name: "new", signal: stop.signal, onProgress }),
    ).rejects.toThrow("stopped");
    expect(files(store.directory)).toEqual(before);
  }
});

test("a damaged blob fails the import and leaves the store as it was", async () => {
  await store.import(layout, { ...linux, name: "kept" });
  const before = files(store.directory);
  const descriptor = await addImage(layout, { content: "other ".repeat(10_000) });
  writeIndex(layout, [descriptor]);
  const blobs = openBlobs(layout);
  const manifest: { layers: [{ digest: string }]; config: { digest: string } } = JSON.parse(
    blobs.get(descriptor.digest).toString(),
  );
  const path = (digest: string) => join(layout, "blobs", digest.replace(":", "/"));
  const layer = path(manifest.layers[0].digest);
  const whole = readFileSync(layer);
  const fails = (code: string) =>
    expect(store.import(layout, { ...linux, name: "new" })).rejects.toMatchObject({ code });

  const changed = Buffer.from(whole);
  changed[whole.length >> 1] = (changed[whole.length >> 1] ?? 0) ^ 1;
  writeFileSync(layer, changed);
  await fails("ERR_OCI_DIGEST_MISMATCH");
  truncateSync(layer, whole.length - 20);
  await fails("ERR_OCI_SIZE_MISMATCH");
  writeFileSync(layer, Buffer.concat([whole, Buffer.from("more")]));
  await fails("ERR_OCI_SIZE_MISMATCH");
  rmSync(layer);
  await fails("ERR_OCI_BAD_SOURCE");
  writeFileSync(layer, whole);
  const config = path(manifest.config.digest);
  writeFileSync(config, readFileSync(config, "utf8").replace("amd64", "amd65"));
  await fails("ERR_OCI_DIGEST_MISMATCH");
  writeFileSync(
    path(descriptor.digest),
    readFileSync(path(descriptor.digest), "utf8").replace("2", "3"),
  );
  await fails("ERR_OCI_DIGEST_MISMATCH");
  expect(files(store.directory)).toEqual(before);
});

test("what a killed import left behind is cleared a day later", async () => {
  await store.import(layout, { ...linux, name: "demo" });
  const left = join(store.directory, "temporary", "left");
  mkdirSync(left);
  writeFileSync(join(left, "rootfs.erofs"), "half");
  await store.import(layout, { ...linux, name: "again" });
  expect(readdirSync(left)).toEqual(["rootfs.erofs"]);
  utimesSync(left, 1_000_000, 1_000_000);
  await store.import(layout, { ...linux, name: "again" });
  expect(readdirSync(join(store.directory, "temporary"))).toEqual([]);
});

test("the platform is chosen from an index, nested or not, and a missing one is named", async () => {
  const [amd, arm] = [
    await addImage(layout, { content: "amd" }),
    await addImage(layout, { content: "arm", architecture: "arm64" }),
  ];
  const nested = {
    schemaVersion: 2,
    manifests: [
      { ...amd, platform: { os: "unknown", architecture: "unknown" } },
      { ...amd, platform: { os: "linux", architecture: "amd64" } },
      { ...arm, platform: { os: "linux", architecture: "arm64", variant: "v8" } },
    ],
  };
  writeIndex(layout, [
    named(
      { mediaType: index, ...openBlobs(layout).add(Buffer.from(JSON.stringify(nested))) },
      "multi",
    ),
  ]);
  expect((await store.import(layout, { platform: "linux/amd64" })).digest).toBe(amd.digest);
  expect((await store.import(layout, { platform: "linux/arm64" })).digest).toBe(arm.digest);
  expect(
    (
      await store.import(layout, {
        platform: { os: "linux", architecture: "arm64", variant: "v8" },
      })
    ).digest,
  ).toBe(arm.digest);
  await expect(store.import(layout, { platform: "linux/riscv64" })).rejects.toMatchObject({
    code: "ERR_OCI_PLATFORM_MISSING",
    message: expect.stringContaining("it has linux/amd64, linux/arm64/v8"),
  });
  await expect(store.import(layout, { platform: "linux" })).rejects.toMatchObject({
    code: "ERR_OCI_BAD_REFERENCE",
  });
});

test("indexes that lead to each other without end are refused", async () => {
  let descriptor: object = await addImage(layout, {});
  for (let depth = 0; depth < 6; depth++) {
    descriptor = {
      mediaType: index,
      ...openBlobs(layout).add(
        Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [descriptor] })),
      ),
    };
  }
  writeIndex(layout, [descriptor]);
  await expect(store.import(layout, linux)).rejects.toMatchObject({ code: "ERR_OCI_TOO_LARGE" });
});

test("of several images one is chosen by path:name", async () => {
  const [one, two] = [
    await addImage(layout, { content: "1" }),
    await addImage(layout, { content: "2" }),
  ];
  writeIndex(layout, [named(one, "1.0"), named(two, "r.example/team/app:2.0")]);
  expect((await openImageSource(layout)).names).toEqual(["1.0", "r.example/team/app:2.0"]);
  expect(await store.import(`${layout}:1.0`, linux)).toMatchObject({
    name: "layout:1.0",
    digest: one.digest,
  });
  expect(await store.import(`${layout}:team/app:2.0`, linux)).toMatchObject({ digest: two.digest });
  expect((await store.import(`${layout}:r.example/team/app:2.0`, linux)).name).toBe(
    "r.example/team/app:2.0",
  );
  for (const source of [layout, `${layout}:3.0`]) {
    await expect(store.import(source, linux)).rejects.toMatchObject({
      code: "ERR_OCI_CHOOSE_IMAGE",
      message: expect.stringContaining("1.0, r.example/team/app:2.0"),
    });
  }
});

test("what is no image is refused with what is missing", async () => {
  const empty = join(directory, "empty");
  mkdirSync(empty);
  const archive = join(directory, "archive.tar.gz");
  execFileSync("tar", ["-C", layout, "-czf", archive, "."]);
  for (const source of [empty, archive, join(directory, "nowhere")]) {
    await expect(store.import(source, linux)).rejects.toMatchObject({ code: "ERR_OCI_BAD_SOURCE" });
  }
  await expect(store.import(archive, linux)).rejects.toThrow("decompress it first");
});

test("a layer that the image does not contain is refused", async () => {
  editLayout(layout, (manifest) => {
    for (const layer of manifest.layers)
      layer.mediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar";
  });
  await expect(store.import(layout, linux)).rejects.toMatchObject({
    code: "ERR_OCI_UNSUPPORTED_MEDIA",
  });
});

test("an archive of docker save with equal layers as links is read", async () => {
  const saved = join(directory, "saved");
  const tar = await tarOf({ name: "file", content: "hello" });
  const { digest: diffId } = openBlobs(layout).add(tar);
  mkdirSync(join(saved, "a"), { recursive: true });
  mkdirSync(join(saved, "b"));
  writeFileSync(join(saved, "a", "layer.tar"), tar);
  execFileSync("ln", ["-s", "../a/layer.tar", join(saved, "b", "layer.tar")]);
  writeFileSync(
    join(saved, "config.json"),
    JSON.stringify({ os: "linux", architecture: "amd64", rootfs: { diff_ids: [diffId, diffId] } }),
  );
  writeFileSync(
    join(saved, "manifest.json"),
    JSON.stringify([
      { Config: "config.json", RepoTags: ["demo:1"], Layers: ["a/layer.tar", "b/layer.tar"] },
    ]),
  );
  const archive = join(directory, "saved.tar");
  execFileSync("tar", ["-C", saved, "-cf", archive, "."]);
  expect(await store.import(archive, linux)).toMatchObject({ name: "demo:1", size: 4096 });
});

test("the default directory follows the environment", () => {
  const { SUPERMACHINE_HOME: home, XDG_DATA_HOME: data } = process.env;
  try {
    process.env["SUPERMACHINE_HOME"] = "/somewhere";
    expect(defaultStoreDirectory()).toBe("/somewhere");
    process.env["SUPERMACHINE_HOME"] = "";
    process.env["XDG_DATA_HOME"] = "/data";
    expect(defaultStoreDirectory()).toBe("/data/supermachine");
  } finally {
    for (const [name, value] of [
      ["SUPERMACHINE_HOME", home],
      ["XDG_DATA_HOME", data],
    ] as const) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
});

requireFacility("linux", "root").test(
  "a full disk fails the import with advice and leaves nothing behind",
  async () => {
    mkdirSync(store.directory, { recursive: true });
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", store.directory]);
    try {
      await store.import(layout, { ...linux, name: "small" });
      const before = files(store.directory);
      writeIndex(layout, [await addImage(layout, { content: "x".repeat(1_000_000) })]);
      await expect(store.import(layout, { ...linux, name: "large" })).rejects.toMatchObject({
        code: "ERR_OCI_NO_SPACE",
        message: expect.stringContaining("SUPERMACHINE_HOME"),
      });
      expect(files(store.directory)).toEqual(before);
    } finally {
      execFileSync("umount", [store.directory]);
    }
  },
);

test("a directory's manifest cannot lead to files outside of the directory", async () => {
  const saved = join(directory, "saved");
  mkdirSync(saved);
  writeFileSync(
    join(directory, "config.json"),
    JSON.stringify({ os: "linux", architecture: "amd64", rootfs: { diff_ids: [] } }),
  );
  writeFileSync(
    join(saved, "manifest.json"),
    JSON.stringify([{ Config: "../config.json", RepoTags: ["demo:1"], Layers: [] }]),
  );
  await expect(store.import(saved, linux)).rejects.toMatchObject({ code: "ERR_OCI_BAD_SOURCE" });
});

requireFacility("linux").test("failed and stopped imports leave no file open", async () => {
  const descriptor = await addImage(layout, { content: "x".repeat(3_000_000) });
  const bad = await addImage(layout, { content: "bad" });
  const open = () => openDescriptors().length;
  const attempt = async () => {
    const stop = new AbortController();
    writeIndex(layout, [descriptor]);
    const onProgress = ({ done }: { done: number }) => done > 0 && stop.abort();
    await store
      .import(layout, { ...linux, signal: stop.signal, onProgress })
      .catch(() => undefined);
    writeIndex(layout, [{ ...bad, size: 5 }]);
    await store.import(layout, linux).catch(() => undefined);
  };
  await attempt();
  const before = open();
  for (let round = 0; round < 20; round++) await attempt();
  await new Promise((done) => setTimeout(done, 100));
  expect(open()).toBeLessThanOrEqual(before + 2);
});
