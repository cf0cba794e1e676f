import { execFileSync, spawnSync } from "node:child_process";
import {
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { O_APPEND, O_RDWR } from "@supermachine/fuse-protocol";
import {
  openDescriptors,
  requireFacility,
  runs,
  TemporaryDirectory,
} from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { PosixBackendError } from "../src/index.js";
import { asRoot, Client, outcome, root } from "./client.js";
import { encodeFirstVersion } from "./first-version.js";
import { mounting } from "./mounting.js";

function fill(path: string): void {
  mkdirSync(join(path, "a/b"), { recursive: true });
  writeFileSync(join(path, "a/b/file"), "contents");
  writeFileSync(join(path, "a/other"), "other");
  symlinkSync("b/file", join(path, "a/link"));
}

test("a restored backend goes on with the nodes and open files of the one that was saved", () => {
  using dir = new TemporaryDirectory();
  fill(dir.path);
  using before = new Client(dir.path);
  const file = before.walk("a/b/file");
  const link = before.walk("a/link");
  const directory = before.walk("a");
  before.walk("a/b/file");
  const reading = before.open(file);
  const appending = before.open(file, O_RDWR | O_APPEND);
  before.backend.opendir(asRoot, directory, 0, before.opened);
  const listing = before.opened.fh;
  const saved = before.backend.saveNodes();

  using after = new Client(dir.path);
  after.walk("a/other");
  after.backend.restoreNodes(saved);
  expect(after.backend.inodeCount).toBe(before.backend.inodeCount);
  expect(after.backend.handleCount).toBe(3);
  expect(after.attr(file).ino).toBe(before.attr(file).ino);
  expect(after.read(reading)).toBe("contents");
  expect(outcome(after.write(reading, "no"))).toBe("EBADF");
  expect(after.write(appending, "!")).toBe(1);
  expect(before.read(reading)).toBe("contents!");
  expect(after.backend.readlink(asRoot, link, Buffer.alloc(100))).toBe("b/file".length);
  const sink = { add: () => true };
  expect(after.backend.readdir(asRoot, directory, listing, 0, sink)).toBe(0);
  // Names lead to the nodes the client has, and new nodes and handles are not mistaken for old ones.
  expect(after.walk("a/b/file")).toBe(file);
  expect(before.walk("a/other")).not.toBe(after.walk("a/other"));
  expect([reading, appending, listing]).not.toContain(after.open(file));
  // Three lookups before and one after: forgotten only when all are taken back.
  after.backend.forget(file, 2);
  expect(after.attr(file).size).toBe(9);
  after.backend.forget(file, 1);
  expect(outcome(after.backend.lookup(asRoot, file, "x", after.entry))).toBe("ESTALE");
});

requireFacility("linux", "root", mounting).test(
  "files of an overlay, which are on other volumes than their directory, are found again",
  () => {
    using dir = new TemporaryDirectory();
    const at = (name: string) => join(dir.path, name);
    for (const name of ["lower", "volume", "merged"]) mkdirSync(at(name));
    fill(at("lower"));
    execFileSync("mount", ["-t", "tmpfs", "none", at("volume")]);
    try {
      for (const name of ["upper", "work"]) mkdirSync(join(at("volume"), name));
      const layers = `lowerdir=${at("lower")},upperdir=${at("volume/upper")},workdir=${at("volume/work")}`;
      // Otherwise the kernel may make inode numbers of its own that hide the volumes.
      const options = `${layers},xino=off`;
      execFileSync("mount", ["-t", "overlay", "-o", options, "none", at("merged")]);
      writeFileSync(at("merged/a/new"), "new");
      const volumes = ["a", "a/other", "a/new"].map(
        (name) => statSync(join(at("merged"), name)).dev,
      );
      expect(new Set(volumes).size).toBe(3);

      using before = new Client(at("merged"));
      const paths = ["a/b/file", "a/other", "a/new"];
      const contents = ["contents", "other", "new"];
      // Directories and files count their inodes apart: some have the same number, on other volumes.
      for (let i = 0; i < 40; i++) {
        const [path, text] = [`many/${i}/file`, `${i}`];
        mkdirSync(at(`merged/many/${i}`), { recursive: true });
        writeFileSync(at(`merged/${path}`), text);
        paths.push(path);
        contents.push(text);
      }
      const handles = paths.map((path) => before.open(before.walk(path)));
      using after = new Client(at("merged"));
      after.backend.restoreNodes(before.backend.saveNodes());
      expect(handles.map((fh) => after.read(fh))).toEqual(contents);
      expect(after.walk("a/other")).toBe(before.walk("a/other"));
    } finally {
      for (const name of ["merged", "volume"]) spawnSync("umount", ["--lazy", at(name)]);
    }
  },
);

test("what is gone when it is restored is ESTALE, until it is forgotten", () => {
  using dir = new TemporaryDirectory();
  fill(dir.path);
  using before = new Client(dir.path);
  const [file, other, directory] = ["a/b/file", "a/other", "a/b"].map((path) => before.walk(path));
  unlinkSync(join(dir.path, "a/other"));
  const saved = before.backend.saveNodes();
  rmSync(join(dir.path, "a/b"), { recursive: true });
  writeFileSync(join(dir.path, "a/b"), "a file now");

  using after = new Client(dir.path);
  after.backend.restoreNodes(saved);
  for (const nodeid of [file, other, directory]) {
    expect(after.tryOpen(nodeid ?? 0)).toBe("ESTALE");
  }
  const known = after.backend.inodeCount;
  after.walk("a/b");
  expect(after.backend.inodeCount).toBe(known + 1);
  for (const nodeid of [file, other, directory]) after.backend.forget(nodeid ?? 0, 2);
  expect(after.backend.inodeCount).toBe(known + 1 - 3);
});

test("nodes that an earlier program saved are taken up, each by its name below the root", () => {
  using dir = new TemporaryDirectory();
  fill(dir.path);
  writeFileSync(join(dir.path, "gone"), "another file, under the name of one that was removed");
  const at = (path: string) => join(dir.path, path);
  const saved = encodeFirstVersion({
    next: 9,
    nodes: [
      [1, 0, dir.path],
      [2, 0, at("a")],
      [7, 3, at("a/link")],
      // What kind it was called does not matter.
      [5, 2, at("a/other")],
      [6, 1, at("gone")],
      [8, 1, at("a/link/file")],
    ],
    entries: [
      [1, "a", 2],
      [2, "other", 5],
      [2, "link", 7],
      [7, "file", 8],
    ],
  });
  using client = new Client(dir.path);
  client.backend.restoreNodes(saved);
  expect(client.backend.inodeCount).toBe(6);
  expect(client.read(client.open(5))).toBe("other");
  expect(client.backend.readlink(asRoot, 7, Buffer.alloc(100))).toBe("b/file".length);
  expect(client.list(2).sort()).toEqual(["b", "link", "other"]);
  expect([client.tryOpen(6), client.tryOpen(8)]).toEqual(["ESTALE", "ESTALE"]);
  expect(client.walk("a/other")).toBe(5);
  // No number of the earlier program is given out again.
  expect(client.walk("a/b")).toBeGreaterThan(2 ** 24);
  client.backend.forget(6, 1);
  client.backend.forget(5, 2);
  expect([client.tryOpen(6), client.tryOpen(5)]).toEqual(["ESTALE", "ESTALE"]);
  const elsewhere = encodeFirstVersion({ next: 2, nodes: [[1, 0, "/elsewhere"]], entries: [] });
  expect(() => client.backend.restoreNodes(elsewhere)).toThrow(PosixBackendError);
  expect(client.walk("a")).toBe(2);
});

test("paths that an earlier program saved do not lead out of the directory", () => {
  using dir = new TemporaryDirectory();
  using outside = new TemporaryDirectory();
  writeFileSync(join(outside.path, "file"), "CANARY");
  symlinkSync(outside.path, join(dir.path, "way"));
  const saved = encodeFirstVersion({
    next: 4,
    nodes: [
      [1, 0, dir.path],
      [2, 0, join(dir.path, "way")],
      [3, 1, join(dir.path, "way/file")],
    ],
    entries: [
      [1, "way", 2],
      [2, "file", 3],
    ],
  });
  using client = new Client(dir.path);
  client.backend.restoreNodes(saved);
  expect(client.attr(2).mode & 0o170000).toBe(0o120000);
  expect(client.tryOpen(3)).toBe("ESTALE");
});

test("no saved name is followed out of the directory", () => {
  using dir = new TemporaryDirectory();
  using outside = new TemporaryDirectory();
  fill(dir.path);
  fill(outside.path);
  using before = new Client(dir.path);
  const file = before.walk("a/b/file");
  const directory = before.walk("a");
  const saved = before.backend.saveNodes();
  // The host puts a link to elsewhere in the place of the directory.
  renameSync(join(dir.path, "a"), join(dir.path, "aside"));
  symlinkSync(join(outside.path, "a"), join(dir.path, "a"));

  using after = new Client(dir.path);
  after.backend.restoreNodes(saved);
  expect(after.tryOpen(file)).toBe("ESTALE");
  expect(outcome(after.backend.lookup(asRoot, directory, "other", after.entry))).toBe("ESTALE");
});

test("saved nodes of another directory are refused, and nothing is changed", () => {
  using dir = new TemporaryDirectory();
  using other = new TemporaryDirectory();
  fill(dir.path);
  using before = new Client(dir.path);
  using after = new Client(other.path);
  mkdirSync(join(other.path, "kept"));
  const kept = after.walk("kept");
  expect(() => after.backend.restoreNodes(before.backend.saveNodes())).toThrow(PosixBackendError);
  expect(() => after.backend.restoreNodes(new Uint8Array(3))).toThrow(/ERR_POSIX_NODES|not saved/);
  expect(after.attr(kept).mode & 0o777).toBe(0o755);
});

test("saved nodes for which there is no room are refused", () => {
  using dir = new TemporaryDirectory();
  for (let i = 0; i < 50; i++) writeFileSync(join(dir.path, `${i}`), "");
  using before = new Client(dir.path);
  for (let i = 0; i < 50; i++) before.walk(`${i}`);
  using after = new Client(dir.path, { maxInodes: 20 });
  expect(() => after.backend.restoreNodes(before.backend.saveNodes())).toThrow(/maxInodes/);
  expect(after.backend.inodeCount).toBe(1);
  after.walk("7");
});

test("whatever saved nodes say, a restored backend stays usable and leaks nothing", () => {
  using dir = new TemporaryDirectory();
  fill(dir.path);
  const before = openDescriptors();
  {
    using client = new Client(dir.path);
    client.open(client.walk("a/b/file"));
    client.walk("a/link");
    const saved = client.backend.saveNodes();
    // Behind the version and the root path, which would refuse nearly everything.
    const first = 10 + Buffer.byteLength(dir.path);
    const change = fc.tuple(fc.integer({ min: first, max: saved.length - 1 }), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 4 }), (changes) => {
        const bytes = saved.slice();
        for (const [at, value] of changes) bytes[at] = value;
        try {
          client.backend.restoreNodes(bytes);
        } catch (error) {
          if (!(error instanceof PosixBackendError)) throw error;
        }
        expect(client.lookup(root, "a")).toBe(0);
        client.backend.destroy();
        expect(client.backend.inodeCount).toBe(1);
      }),
      { numRuns: runs(300) },
    );
  }
  expect(openDescriptors()).toEqual(before);
});
