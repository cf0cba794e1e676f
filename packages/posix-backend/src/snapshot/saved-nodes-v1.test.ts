import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeFirstVersion as encode, type FirstVersion } from "../../test/first-version.js";
import { PosixBackendError } from "../error.js";
import { decodeFirstVersion } from "./saved-nodes-v1.js";

const valid: FirstVersion = {
  next: 6,
  nodes: [
    [4, 1, "/share/d/f"],
    [1, 0, "/share"],
    [2, 0, "/share/d"],
    [3, 2, "/share/gone"],
    [5, 3, "/share/d/f2"],
  ],
  entries: [
    [1, "d", 2],
    [2, "f", 4],
    [2, "f2", 5],
    [2, "f3", 5],
  ],
};

function refusal(bytes: Uint8Array): string {
  try {
    decodeFirstVersion(bytes);
  } catch (error) {
    if (error instanceof PosixBackendError && error.code === "ERR_POSIX_NODES")
      return error.message;
    throw error;
  }
  return "accepted";
}

test("paths become names in directories, and each entry a lookup", () => {
  expect(decodeFirstVersion(encode(valid))).toEqual({
    rootPath: "/share",
    generationFloor: 1,
    nodes: [
      { nodeid: 1, type: 0, lookups: 1, parent: 0, name: "" },
      { nodeid: 2, type: 0, lookups: 1, parent: 1, name: "d" },
      // Removed: nothing says that what has its path now is that file.
      { nodeid: 3, type: 0, lookups: 1, parent: 0, name: "" },
      { nodeid: 4, type: 0, lookups: 1, parent: 2, name: "f" },
      { nodeid: 5, type: 0, lookups: 2, parent: 2, name: "f2" },
    ],
    handles: [],
  });
});

test("the root may be the host's", () => {
  const blob = { next: 3, nodes: [[1, 0, "/"] as const, [2, 0, "/etc"] as const] };
  const { nodes } = decodeFirstVersion(encode({ ...blob, entries: [[1, "etc", 2]] }));
  expect(nodes.at(1)).toMatchObject({ nodeid: 2, parent: 1, name: "etc" });
});

test.each<[string, RegExp, Partial<FirstVersion>]>([
  ["no root", /no root/, { nodes: [], entries: [] }],
  [
    "a path outside the root",
    /not below the root/,
    { nodes: [...valid.nodes, [9, 1, "/etc"]], next: 10 },
  ],
  [
    "one that only begins alike",
    /not below the root/,
    { nodes: [...valid.nodes, [9, 1, "/shared/x"]], next: 10 },
  ],
  [
    "the root a second time",
    /not below the root/,
    { nodes: [...valid.nodes, [9, 0, "/share"]], next: 10 },
  ],
  ...["/share/../etc", "/share//x", "/share/./x", "/share/d/", `/share/${"x".repeat(256)}`].map(
    (path): [string, RegExp, Partial<FirstVersion>] => [
      `the path ${path.slice(0, 20)}`,
      /no plain path/,
      { nodes: [...valid.nodes, [9, 1, path]], next: 10 },
    ],
  ),
  ["a relative path", /no proper path/, { nodes: [...valid.nodes, [9, 1, "share/x"]], next: 10 }],
  ["a NUL in a path", /no proper path/, { nodes: [...valid.nodes, [9, 1, "/share/\0"]], next: 10 }],
  [
    "a long path",
    /a path of/,
    { nodes: [...valid.nodes, [9, 1, `/share${"/x".repeat(2048)}`]], next: 10 },
  ],
  ["an empty path", /a path of 0/, { nodes: [...valid.nodes, [9, 1, ""]], next: 10 }],
  ["an unknown kind", /unknown kind 4/, { nodes: [...valid.nodes, [9, 4, "/share/x"]], next: 10 }],
  ["a node twice", /comes twice/, { nodes: [...valid.nodes, [4, 1, "/share/x"]] }],
  [
    "two nodes for one slot",
    /comes twice/,
    { nodes: [...valid.nodes, [2 ** 24 + 4, 1, "/share/x"]], next: 2 ** 25 },
  ],
  ["node 0", /no nodeid/, { nodes: [...valid.nodes, [0, 1, "/share/x"]] }],
  ["a next node that there is", /the next node is 4/, { next: 4 }],
  ["no next node", /the next node/, { next: 2 ** 53 }],
  ["an entry of no node", /not there/, { entries: [[1, "x", 99]] }],
  ["an entry in no node", /not there/, { entries: [[99, "x", 2]] }],
  [
    "a name twice",
    /comes twice/,
    {
      entries: [
        [1, "d", 2],
        [1, "d", 3],
      ],
    },
  ],
  ...["", ".", "..", "a/b", "a\0", "x".repeat(256)].map(
    (name): [string, RegExp, Partial<FirstVersion>] => [
      `the name ${JSON.stringify(name).slice(0, 10)}`,
      /no proper name/,
      { entries: [[1, name, 2]] },
    ],
  ),
])("version 1 with %s is refused", (_, why, change) => {
  expect(refusal(encode({ ...valid, ...change }))).toMatch(why);
});

test("version 1 that is cut off anywhere, or goes on, is refused", () => {
  const bytes = encode(valid);
  for (let length = 8; length < bytes.length; length++) {
    expect(refusal(bytes.subarray(0, length))).not.toBe("accepted");
  }
  expect(refusal(Buffer.concat([bytes, Buffer.alloc(1)]))).toMatch(/something follows/);
});

test("what is accepted is a tree of plain names from the root, whatever the bytes", () => {
  const bytes = encode(valid);
  const changes = fc.array(fc.tuple(fc.integer({ min: 8, max: bytes.length - 1 }), fc.nat(255)), {
    maxLength: 6,
  });
  fc.assert(
    fc.property(changes, (changed) => {
      const copy = bytes.slice();
      for (const [at, value] of changed) copy[at] = value;
      if (refusal(copy) !== "accepted") return;
      const seen = new Set([0]);
      for (const { nodeid, parent, name, lookups } of decodeFirstVersion(copy).nodes) {
        expect(seen).toContain(parent);
        expect(lookups).toBeGreaterThan(0);
        if (parent !== 0) expect(name).toMatch(/^(?!\.{0,2}$)[^/\0]+$/s);
        seen.add(nodeid);
      }
    }),
    { numRuns: runs(3000) },
  );
});
