import { expect, test } from "vitest";
import { writeRootfs } from "../src/index.js";
import { type Entry, imageOf, merge, merged, tarOf } from "./layer-fixtures.js";

const file = (name: string, content = name): Entry => ({ name, content });
const directory = (name: string): Entry => ({ name, type: "directory", mode: 0o700 });
const symlink = (name: string, linkname: string): Entry => ({ name, type: "symlink", linkname });
const link = (name: string, linkname: string): Entry => ({ name, type: "link", linkname });
const refused = (code: string, ...layers: Entry[][]) =>
  expect(merged(...layers)).rejects.toMatchObject({ code });

test("a whiteout hides a file or a whole directory of lower layers", async () => {
  expect(
    await merged(
      [file("a"), file("d/x"), file("d/e/y"), file("keep")],
      [file(".wh.a"), file(".wh.d")],
    ),
  ).toEqual({ "/keep": "keep" });
});

test("a whiteout spares what its own layer puts there, whether before or after it", async () => {
  const lower = [file("d/old"), file("a", "old")];
  const expected = { "/d": "directory", "/d/new": "d/new", "/a": "new" };
  expect(
    await merged(lower, [file(".wh.d"), file("d/new"), file(".wh.a"), file("a", "new")]),
  ).toEqual(expected);
  expect(
    await merged(lower, [file("d/new"), file(".wh.d"), file("a", "new"), file(".wh.a")]),
  ).toEqual(expected);
});

test("an opaque whiteout hides all lower names of its directory, and none of its own layer", async () => {
  expect(
    await merged(
      [file("d/a"), file("d/s/b"), file("d/s/c")],
      [file("d/new"), file("d/s/own"), file("d/.wh..wh..opq")],
    ),
  ).toEqual({ "/d": "directory", "/d/new": "d/new", "/d/s": "directory", "/d/s/own": "d/s/own" });
});

test("a whiteout of the old name of a hard link leaves the new name", async () => {
  expect(await merged([file("old", "content")], [link("new", "old"), file(".wh.old")])).toEqual({
    "/new": "content",
  });
});

test("whiteouts of what is not there, and AUFS marks, mean nothing", async () => {
  expect(
    await merged(
      [file("a")],
      [
        file(".wh.b"),
        file("x/.wh.y"),
        file("a/.wh.z"),
        file(".wh..wh.plnk"),
        file("x/.wh..wh..opq"),
      ],
    ),
  ).toEqual({ "/a": "a" });
});

test("files and directories replace each other", async () => {
  expect(await merged([file("a/x"), file("b")], [file("a"), directory("b"), file("b/y")])).toEqual({
    "/a": "a",
    "/b": "directory",
    "/b/y": "b/y",
  });
});

test("a directory over a directory changes its attributes and keeps its entries", async () => {
  const reader = await merge(
    await tarOf(directory("d"), file("d/x")),
    await tarOf({ ...directory("d"), mode: 0o1777, uid: 5 }),
  );
  expect(await reader.resolve("d")).toMatchObject({ mode: 0o1777, uid: 5, mtime: 1000 });
  expect(await reader.resolve("d/x")).toBeDefined();
});

test("the root directory takes the attributes of ./", async () => {
  const reader = await merge(await tarOf({ ...directory("./"), mode: 0o711, uid: 7 }));
  expect(await reader.root()).toMatchObject({ mode: 0o711, uid: 7 });
});

test("content that an upper layer deletes or replaces is nowhere in the image", async () => {
  const secret = "secret ".repeat(3000);
  let written = "";
  const image = imageOf(
    await tarOf(file("key", secret), file("other", secret), file("keep")),
    await tarOf(file(".wh.key"), file("other", "public")),
  );
  await writeRootfs(image, {
    write(_, bytes) {
      written += Buffer.from(bytes).toString("latin1");
    },
  });
  expect(written).toContain("public");
  expect(written).not.toContain("secret");
});

test("hard links may lead to lower layers and share one inode", async () => {
  const reader = await merge(
    await tarOf(file("d/a", "content")),
    await tarOf(link("b", "/d/a"), link("c", "./b")),
  );
  const [a, b, c] = [
    await reader.resolve("d/a"),
    await reader.resolve("b"),
    await reader.resolve("c"),
  ];
  expect(a).toMatchObject({ nlink: 3 });
  expect([b?.nid, c?.nid]).toEqual([a?.nid, a?.nid]);
});

test("a layer may write through a symlink of a lower one, and stays inside of the image", async () => {
  expect(
    await merged(
      [
        directory("usr"),
        directory("usr/lib"),
        symlink("lib", "usr/lib"),
        symlink("up", "../../../.."),
        symlink("abs", "/usr"),
        symlink("dangling", "made/here"),
      ],
      [file("lib/a"), file("up/b"), file("abs/c"), file("dangling/d")],
    ),
  ).toMatchObject({
    "/lib": "-> usr/lib",
    "/usr/lib/a": "lib/a",
    "/b": "up/b",
    "/usr/c": "abs/c",
    "/made/here/d": "dangling/d",
  });
});

test("a leading slash or ./ means the root of the image", async () => {
  expect(await merged([file("/etc/a"), file("./b"), file("//c"), file("d//e/./f")])).toEqual({
    "/etc": "directory",
    "/etc/a": "/etc/a",
    "/b": "./b",
    "/c": "//c",
    "/d": "directory",
    "/d/e": "directory",
    "/d/e/f": "d//e/./f",
  });
});

test("devices, fifos, long names, large ids and fractions of seconds are kept", async () => {
  const name = `${"d".repeat(120)}/${"n".repeat(250)}`;
  const pax = { uid: "3000000000", gid: "4000000", mtime: "-1.25", "SCHILY.xattr.user.a": "b" };
  const reader = await merge(
    await tarOf(
      { name: "null", type: "character-device", devmajor: 1, devminor: 3 },
      { name: "p", type: "fifo" },
      file(name, "long"),
      { ...file("f"), pax },
      file("base256"),
    ),
  );
  expect(await reader.resolve("null")).toMatchObject({
    type: "character-device",
    major: 1,
    minor: 3,
  });
  expect(await reader.resolve("p")).toMatchObject({ type: "fifo" });
  expect(await reader.resolve(name)).toMatchObject({ size: 4 });
  const inode = await reader.resolve("f");
  expect(inode).toMatchObject({
    uid: 3_000_000_000,
    gid: 4_000_000,
    mtime: -2,
    mtimeNsec: 750_000_000,
  });
  if (inode)
    expect(await reader.xattrs(inode)).toEqual(new Map([["user.a", new Uint8Array([98])]]));
});

test("extended attributes of overlayfs and of other systems are left out", async () => {
  const pax = {
    "SCHILY.xattr.trusted.overlay.opaque": "y",
    "SCHILY.xattr.user.overlay.redirect": "/x",
    "SCHILY.xattr.com.apple.provenance": "1",
    "LIBARCHIVE.xattr.user.k%20": "dmFsdWU=",
  };
  const reader = await merge(await tarOf({ ...file("f"), pax }));
  const inode = await reader.resolve("f");
  if (!inode) throw new Error("f is missing");
  expect(
    [...(await reader.xattrs(inode))].map(([name, value]) => [name, Buffer.from(value).toString()]),
  ).toEqual([["user.k ", "value"]]);
});

test("paths with .. are refused", async () => {
  await refused("ERR_OCI_BAD_LAYER_PATH", [file("../x")]);
  await refused("ERR_OCI_BAD_LAYER_PATH", [file("a/../../x")]);
  await refused("ERR_OCI_BAD_LAYER_PATH", [link("a", "../../etc/passwd")]);
  await refused("ERR_OCI_BAD_LAYER_PATH", [file("a/.wh...")]);
});

test("what cannot be is refused: links to nothing or to directories, paths below files, symlink loops, a file as root", async () => {
  await refused("ERR_OCI_BAD_LAYER_PATH", [link("a", "nothing")]);
  await refused("ERR_OCI_BAD_LAYER_PATH", [directory("d"), link("a", "d")]);
  await refused("ERR_OCI_BAD_LAYER_PATH", [link("a", "/")]);
  await refused("ERR_OCI_BAD_LAYER_PATH", [file("f"), file("f/x")]);
  await refused("ERR_OCI_BAD_LAYER_PATH", [symlink("a", "b"), symlink("b", "a"), file("a/x")]);
  await refused("ERR_OCI_BAD_LAYER_PATH", [
    symlink("s", "a/".repeat(2000)),
    symlink("a", "."),
    file("s/x"),
  ]);
  await refused("ERR_OCI_BAD_LAYER_PATH", [symlink("/", "elsewhere")]);
  await refused("ERR_OCI_BAD_LAYER_PATH", [file(".wh.")]);
  await refused("ERR_OCI_BAD_LAYER_PATH", [file(`${"a/".repeat(3000)}f`)]);
});

test("a directory thousands of levels deep is no danger", async () => {
  const steps = Array.from({ length: 30 }, (_, index) =>
    symlink(`l${index + 1}`, `l${index}/${"d/".repeat(100)}`.replace("l0/", "")),
  );
  const reader = await merge(await tarOf(...steps, file("l20/f", "deep")));
  expect(await reader.resolve(`${"d/".repeat(2000)}f`)).toMatchObject({ size: 4 });
});

test("a layer that ends in the middle is refused, wherever it ends", async () => {
  const whole = await tarOf(file("a", "x".repeat(2000)), {
    ...file("b"),
    pax: { comment: "y".repeat(600) },
  });
  for (const length of [100, 700, 2000, 2600, 3000, 3700]) {
    await expect(merge(whole.subarray(0, length)), `${length} bytes`).rejects.toMatchObject({
      code: "ERR_OCI_TRUNCATED",
    });
  }
});

test("GNU sparse files and unknown entry types are refused by name", async () => {
  const sparse = await tarOf({
    ...file("big"),
    pax: { "GNU.sparse.major": "1", "GNU.sparse.name": "big" },
  });
  await expect(merge(sparse)).rejects.toMatchObject({
    code: "ERR_OCI_UNSUPPORTED_MEDIA",
    message: expect.stringContaining("big"),
  });
});

test("content that is not what the config names is refused", async () => {
  const image = imageOf(await tarOf(file("a")));
  const [layer] = image.layers;
  if (!layer) throw new Error("no layer");
  const other = { ...image, layers: [{ ...layer, diffId: `sha256:${"1".repeat(64)}` }] };
  await expect(writeRootfs(other, { write: () => undefined })).rejects.toMatchObject({
    code: "ERR_OCI_DIGEST_MISMATCH",
  });
});

test("limits bound what hostile layers may unpack to", async () => {
  const image = imageOf(await tarOf(file("a", "x".repeat(10_000)), file("b")));
  const output = { write: () => undefined };
  await expect(writeRootfs(image, output, { maxUncompressedBytes: 10_000 })).rejects.toMatchObject({
    code: "ERR_OCI_TOO_LARGE",
  });
  await expect(writeRootfs(image, output, { maxEntries: 1 })).rejects.toMatchObject({
    code: "ERR_OCI_TOO_LARGE",
  });
});
