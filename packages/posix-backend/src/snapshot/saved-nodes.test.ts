import { S_IFDIR, S_IFLNK, S_IFREG } from "@supermachine/fuse-protocol";
import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { PosixBackendError } from "../error.js";
import { decodeNodes, encodeNodes, type SavedNode, type SavedNodes } from "./saved-nodes.js";

const root: SavedNode = { nodeid: 1, type: S_IFDIR, lookups: 1, parent: 0, name: "" };
const directory: SavedNode = { nodeid: 2, type: S_IFDIR, lookups: 3, parent: 1, name: "d" };
const file: SavedNode = { nodeid: 2 ** 24 + 3, type: S_IFREG, lookups: 7, parent: 2, name: "f" };

function saved(nodes: readonly SavedNode[], more: Partial<SavedNodes> = {}): SavedNodes {
  return { rootPath: "/share", generationFloor: 5, nodes, handles: [], ...more };
}

function refusal(bytes: Uint8Array): string {
  try {
    decodeNodes(bytes);
  } catch (error) {
    if (error instanceof PosixBackendError && error.code === "ERR_POSIX_NODES")
      return error.message;
    throw error;
  }
  return "accepted";
}

const names = fc
  .string({ minLength: 1, maxLength: 60, unit: "binary" })
  .filter((name) => !/[/\0\ud800-\udfff]/.test(name) && name !== "." && name !== "..");

/** Trees of any shape: each node is in some directory before it, or lost its name. */
const trees = fc
  .array(fc.record({ type: fc.constantFrom(S_IFDIR, S_IFREG, S_IFLNK), at: fc.nat(), name: names }))
  .map((shapes) => {
    const nodes = [root];
    for (const [i, { type, at, name }] of shapes.entries()) {
      const directories = nodes.filter((node) => node.type === S_IFDIR);
      const parent = at % 5 === 0 ? undefined : directories[at % directories.length];
      nodes.push({
        nodeid: (at % 1000) * 2 ** 24 + i + 2,
        type,
        lookups: (at % 0xffff_ffff) + 1,
        parent: parent?.nodeid ?? 0,
        name: parent === undefined ? "" : name,
      });
    }
    return nodes;
  });

test("what is saved comes back as it was", () => {
  fc.assert(
    fc.property(trees, fc.nat(), (nodes, flags) => {
      const handles = nodes
        .filter((node) => node.type !== S_IFLNK)
        .map((node, i) => ({
          fh: (flags % 77) * 2 ** 24 + i + 1,
          nodeid: node.nodeid,
          isDirectory: node.type === S_IFDIR,
          flags,
        }));
      const state = saved(nodes, { handles });
      expect(decodeNodes(encodeNodes(state))).toEqual(state);
    }),
  );
});

test("saved nodes that are cut off anywhere, or go on, are refused", () => {
  const handles = [{ fh: 1, nodeid: file.nodeid, isDirectory: false, flags: 2 }];
  const bytes = encodeNodes(saved([root, directory, file], { handles }));
  for (let length = 0; length < bytes.length; length++) {
    expect(refusal(bytes.subarray(0, length))).not.toBe("accepted");
  }
  expect(refusal(Buffer.concat([bytes, Buffer.alloc(1)]))).toMatch(/something follows/);
});

test.each<[string, RegExp, readonly SavedNode[]]>([
  ["no root", /no root/, []],
  ["a root that is not first", /the root/, [directory, root]],
  ["two roots", /the root/, [root, root]],
  ["a root that is a file", /root is no directory/, [{ ...root, type: S_IFREG }]],
  ["a root in a directory", /root is no directory/, [{ ...root, parent: 1, name: "x" }]],
  ["an id that comes twice", /comes twice/, [root, directory, { ...file, nodeid: 2 }]],
  ["a slot that comes twice", /comes twice/, [root, directory, { ...file, nodeid: 2 ** 24 + 2 }]],
  ["an id of nothing", /no nodeid/, [root, { ...directory, nodeid: 2 ** 24 }]],
  ["an unknown type", /unknown type/, [root, { ...directory, type: 0o030000 }]],
  ["no lookups", /0 times/, [root, { ...directory, lookups: 0 }]],
  ["a directory in itself", /no directory before it/, [root, { ...directory, parent: 2 }]],
  [
    "directories in each other",
    /no directory before it/,
    [root, { ...directory, parent: 3 }, { ...directory, nodeid: 3, parent: 2 }],
  ],
  [
    "a file in a file",
    /no directory before it/,
    [root, { ...file, parent: 1 }, { ...directory, parent: file.nodeid }],
  ],
  ["a name without a directory", /no directory/, [root, { ...file, parent: 0 }]],
  ...["", ".", "..", "a/b", "/", "a\0b", "\0"].map(
    (name): [string, RegExp, readonly SavedNode[]] => [
      `the name ${JSON.stringify(name)}`,
      /no proper name/,
      [root, { ...directory, name }],
    ],
  ),
])("saved nodes with %s are refused", (_, why, nodes) => {
  expect(refusal(encodeNodes(saved(nodes)))).toMatch(why);
});

test.each([
  ["of no node", { fh: 1, nodeid: 99, isDirectory: false, flags: 0 }],
  ["of a directory, as a file", { fh: 1, nodeid: 2, isDirectory: false, flags: 0 }],
  ["of a file, as a directory", { fh: 1, nodeid: file.nodeid, isDirectory: true, flags: 0 }],
  ["without a number", { fh: 0, nodeid: 2, isDirectory: true, flags: 0 }],
])("a saved handle %s is refused", (_, handle) => {
  const bytes = encodeNodes(saved([root, directory, file], { handles: [handle] }));
  expect(refusal(bytes)).toMatch(/handle/);
});

test("foreign bytes, other versions and impossible counts are refused", () => {
  const bytes = encodeNodes(saved([root]));
  const changed = (at: number, value: number) => {
    const copy = bytes.slice();
    copy[at] = value;
    return copy;
  };
  expect(refusal(Buffer.from("not saved nodes at all"))).toMatch(/PFSS/);
  expect(refusal(changed(0, 0))).toMatch(/PFSS/);
  expect(refusal(changed(4, 3))).toMatch(/version 3/);
  expect(refusal(changed(8, 0))).toMatch(/root path of 0/);
  const countAt = 4 + 4 + 2 + "/share".length + 4;
  expect(refusal(changed(countAt + 6, 0xff))).toMatch(/end too early/);
});

test("no bytes do anything but be refused or accepted", () => {
  const handles = [{ fh: 1, nodeid: file.nodeid, isDirectory: false, flags: 2 }];
  const valid = encodeNodes(saved([root, directory, file], { handles }));
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 6 }).map((changes) => {
      const copy = valid.slice();
      for (const [at, value] of changes) copy[at] = value;
      return copy;
    }),
  );
  fc.assert(
    fc.property(bytes, (input) => {
      refusal(input);
    }),
    { numRuns: runs(2000) },
  );
});
