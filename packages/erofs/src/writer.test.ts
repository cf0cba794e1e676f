import { expect, test } from "vitest";
import type { ErofsDirectory, ErofsFile, ErofsNode } from "./tree.js";
import { ErofsWriter } from "./writer.js";

const common = { mode: 0o644, uid: 0, gid: 0, mtime: 0 };
const file = (size: number): ErofsFile => ({ ...common, type: "file", size });
const root = (entries: Record<string, ErofsNode>): ErofsDirectory => ({
  ...common,
  type: "directory",
  entries: new Map(Object.entries(entries)),
});
const writer = (tree: ErofsDirectory, options = {}) =>
  new ErofsWriter(tree, { write: () => undefined }, options);

test.each<[string, ErofsNode, string]>([
  ["a mode with type bits", { ...file(0), mode: 0o100644 }, "mode"],
  ["the uid of nobody at all", { ...file(0), uid: 0xffffffff }, "uid"],
  ["a fraction of a second as mtime", { ...file(0), mtime: 0.5 }, "mtime"],
  ["a negative size", file(-1), "size"],
  ["a symlink to nothing", { ...common, type: "symlink", target: "" }, "target"],
  ["a target of 4096 bytes", { ...common, type: "symlink", target: "x".repeat(4096) }, "target"],
  ["a target with NUL", { ...common, type: "symlink", target: "a\0b" }, "NUL"],
  ["a major number over 4095", { ...common, type: "block-device", major: 4096, minor: 0 }, "major"],
  [
    "an attribute of macOS",
    { ...file(0), xattrs: new Map([["com.apple.x", Buffer.alloc(1)]]) },
    "com.apple.x",
  ],
  [
    "an attribute of 64 KiB",
    { ...file(0), xattrs: new Map([["user.x", Buffer.alloc(65_536)]]) },
    "65536",
  ],
])("%s is refused, with the path", (_, node, named) => {
  expect(() => writer(root({ d: root({ bad: node }) }))).toThrow(
    expect.objectContaining({
      code: "ERR_EROFS_INVALID_TREE",
      message: expect.stringMatching(`/d/bad.*${named}`),
    }),
  );
});

test.each(["", ".", "..", "a/b", "a\0", "x".repeat(256), "ü".repeat(128)])(
  "the name %j is refused",
  (name) => {
    expect(() => writer(root({ [name]: file(0) }))).toThrow(
      expect.objectContaining({ code: "ERR_EROFS_INVALID_TREE" }),
    );
  },
);

test("a directory at two places is refused, as it could contain itself", () => {
  const twice = root({});
  expect(() => writer(root({ a: twice, b: twice }))).toThrow("already elsewhere");
});

test("an image of petabytes is refused before anything is written", () => {
  expect(() => writer(root({ huge: file(2 ** 50) }))).toThrow("32-bit block addresses");
});

test("content longer or shorter than announced is refused, and the image stays unfinished", async () => {
  for (const size of [0, 9, 11, 5000]) {
    const announced = file(10);
    const image = writer(root({ announced }));
    await expect(image.writeFile(announced, new Uint8Array(size))).rejects.toMatchObject({
      code: "ERR_EROFS_CONTENT",
    });
    await expect(image.finish()).rejects.toMatchObject({ code: "ERR_EROFS_CONTENT" });
    await expect(image.writeFile(announced, new Uint8Array(10))).rejects.toMatchObject({
      code: "ERR_EROFS_WRITER_STATE",
    });
  }
});

test("content of strangers, or twice, is refused", async () => {
  const known = file(1);
  const image = writer(root({ known }));
  await expect(image.writeFile(file(1), new Uint8Array(1))).rejects.toThrow("not in the tree");
  await image.writeFile(known, new Uint8Array(1));
  await expect(image.writeFile(known, new Uint8Array(1))).rejects.toThrow("written already");
  await image.finish();
  await expect(image.finish()).rejects.toMatchObject({ code: "ERR_EROFS_WRITER_STATE" });
});

test("the superblock is written last, so an unfinished image is none", async () => {
  const positions: number[] = [];
  const content = file(10_000);
  const image = new ErofsWriter(root({ content }), { write: (at) => void positions.push(at) });
  await image.writeFile(content, new Uint8Array(10_000));
  expect(positions).not.toContain(0);
  await image.finish();
  expect(positions.at(-1)).toBe(0);
});
