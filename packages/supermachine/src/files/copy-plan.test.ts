import { describe, expect, test } from "vitest";
import { parseCopyPath } from "../cli/cp.js";
import { copiedName, keepEnd, type PathKind, planCopy } from "./copy-plan.js";

describe("a copy goes where docker cp would put it", () => {
  test.each<[string, PathKind, string, PathKind, string, string]>([
    // A file
    ["/a/file", "other", "/d", "directory", "/d", "file"],
    ["/a/file", "other", "/d/", "directory", "/d/", "file"],
    ["/a/file", "other", "/d/new", "missing", "/d", "new"],
    ["/a/file", "other", "/d/old", "other", "/d", "old"],
    // A directory
    ["/a/tree", "directory", "/d", "directory", "/d", "tree"],
    ["/a/tree/", "directory", "/d", "directory", "/d", "tree"],
    ["/a/tree/.", "directory", "/d", "directory", "/d", "."],
    ["/a/tree", "directory", "/d/new", "missing", "/d", "new"],
    ["/a/tree", "directory", "/d/new/", "missing", "/d", "new"],
    ["/a/tree/.", "directory", "/d/new", "missing", "/d", "new"],
    ["/", "directory", "/d", "directory", "/d", "."],
    ["/a/tree", "directory", "/new", "missing", "/", "new"],
  ])("%s (%s) to %s (%s)", (path, kind, to, toKind, directory, name) => {
    expect(planCopy({ path, kind }, { path: to, kind: toKind })).toEqual({ directory, name });
  });

  test.each<[string, PathKind, string, PathKind, string]>([
    ["/a/file", "other", "/d/new/", "missing", "no such directory"],
    ["/a/file", "other", "/d/file/", "other", "not a directory"],
    ["/a/tree", "directory", "/d/file", "other", "cannot take the place of a file"],
  ])("%s (%s) cannot go to %s (%s)", (path, kind, to, toKind, why) => {
    expect(() => planCopy({ path, kind }, { path: to, kind: toKind })).toThrow(why);
  });
});

test.each([
  ["/a/b", "b"],
  ["/a/b/", "b"],
  ["/a/b/.", "."],
  ["/", "."],
])("%s is known as %s where it is copied to", (path, name) => {
  expect(copiedName(path)).toBe(name);
});

test.each([
  ["/x", ".", "/x/."],
  ["/x", "a/.", "/x/."],
  ["/x", "x/", "/x/"],
  ["/x", "x", "/x"],
  ["/", "/.", "/"],
])("%s, resolved from %s, means %s", (resolved, original, path) => {
  expect(keepEnd(resolved, original)).toBe(path);
});

test.each([
  ["box:/etc/hosts", { vm: "box", path: "/etc/hosts" }],
  ["box:etc/../root/.", { vm: "box", path: "/root/." }],
  ["box:", { vm: "box", path: "/" }],
  ["./box:file", { path: "./box:file" }],
  ["/tmp/a:b", { path: "/tmp/a:b" }],
  ["file", { path: "file" }],
  ["-", { path: "-" }],
])("on the command line %s is read as %j", (text, path) => {
  expect(parseCopyPath(text)).toEqual(path);
});
