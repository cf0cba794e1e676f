import { execFileSync } from "node:child_process";
import {
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { FATTR_MODE, O_RDWR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "@supermachine/fuse-protocol";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect, test } from "vitest";
import type { SymlinkPolicy } from "../src/index.js";
import { asRoot, Client, outcome, root } from "./client.js";

/** A tree with links of every kind, in `share`, beside a directory `outside`. */
function buildTree(base: string): string {
  const share = join(base, "share");
  mkdirSync(join(share, "dir/deep"), { recursive: true });
  mkdirSync(join(base, "outside"));
  writeFileSync(join(base, "outside/file"), "CANARY");
  writeFileSync(join(share, "file"), "inside");
  writeFileSync(join(share, "dir/other"), "other");
  const links = {
    sibling: "file",
    up: "../share/file",
    broken: "absent",
    absolute: join(base, "outside/file"),
    escape: "../outside/file",
    directory: "dir",
    loop: "loop",
    "dir/deep/climb": "../../file",
    "dir/deep/over": "../../../outside/file",
    "dir/cycle": "..",
    "dir/via": "../escape",
  };
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(share, name));
  return share;
}

const kinds = new Map([
  [S_IFREG, "file"],
  [S_IFDIR, "directory"],
  [S_IFLNK, "link"],
]);

function kindOf(client: Client, path: string): string | undefined {
  client.walk(path);
  return kinds.get(client.entry.attr.mode & S_IFMT);
}

const everyLink = [
  "sibling",
  "up",
  "broken",
  "absolute",
  "escape",
  "directory",
  "loop",
  "dir/deep/climb",
  "dir/deep/over",
  "dir/cycle",
  "dir/via",
];

for (const symlinks of ["deny", "opaque"] satisfies SymlinkPolicy[]) {
  test(`with ${symlinks}, links are links, wherever they lead, and are never opened`, () => {
    using dir = new TemporaryDirectory();
    const share = buildTree(dir.path);
    using client = new Client(share, { symlinks });
    for (const path of everyLink) {
      const nodeid = client.walk(path);
      expect([path, kinds.get(client.entry.attr.mode & S_IFMT)]).toEqual([path, "link"]);
      expect(client.tryOpen(nodeid)).toBe("ELOOP");
      expect(outcome(client.backend.opendir(asRoot, nodeid, 0, client.opened))).toBe("ENOTDIR");
      expect(client.lookup(nodeid, "file")).toBe("ENOTDIR");
      const target = Buffer.alloc(4096);
      const length = client.backend.readlink(asRoot, nodeid, target);
      expect(target.toString("utf8", 0, length).length).toBe(lstatSync(join(share, path)).size);
    }
  });
}

test("with deny, neither symbolic nor hard links are made", () => {
  using dir = new TemporaryDirectory();
  const share = buildTree(dir.path);
  using client = new Client(share, { symlinks: "deny" });
  const { backend, entry } = client;
  expect(outcome(backend.symlink(asRoot, root, "new", "file", entry))).toBe("EPERM");
  expect(outcome(backend.link(asRoot, client.walk("file"), root, "new", entry))).toBe("EPERM");
});

test("with opaque, a target is stored byte for byte", () => {
  using dir = new TemporaryDirectory();
  const share = buildTree(dir.path);
  using client = new Client(share);
  const { backend, entry } = client;
  for (const target of ["/etc/passwd", "../../../x", "a".repeat(4095), "odd\udcff"]) {
    expect(outcome(backend.symlink(asRoot, root, "new", target, entry))).toBe(0);
    expect(entry.attr.size).toBe(target.length);
    expect(outcome(backend.unlink(asRoot, root, "new"))).toBe(0);
  }
  expect(outcome(backend.symlink(asRoot, root, "new", "", entry))).toBe("ENOENT");
  expect(outcome(backend.symlink(asRoot, root, "new", "a".repeat(4096), entry))).toBe(
    "ENAMETOOLONG",
  );
});

test("with follow, links inside are their targets, and all others are links", () => {
  using dir = new TemporaryDirectory();
  const share = buildTree(dir.path);
  using client = new Client(share, { symlinks: "follow" });
  const shown = Object.fromEntries(everyLink.map((path) => [path, kindOf(client, path)]));
  expect(shown).toEqual({
    sibling: "file",
    // It leaves the root on its way, though it comes back.
    up: "link",
    broken: "link",
    absolute: "link",
    escape: "link",
    directory: "directory",
    loop: "link",
    "dir/deep/climb": "file",
    "dir/deep/over": "link",
    "dir/cycle": "directory",
    "dir/via": "link",
  });
  expect(client.walk("sibling")).toBe(client.walk("file"));
  expect(client.read(client.open(client.walk("dir/deep/climb")))).toBe("inside");
  expect(client.read(client.open(client.walk("directory/cycle/dir/other")))).toBe("other");
  expect(client.tryOpen(client.walk("escape"))).toBe("ELOOP");
  // A Linux client can hold a directory under one name only.
  expect(client.walk("directory")).not.toBe(client.walk("dir"));
});

test("with follow, removing a name removes the link, not its target", () => {
  using dir = new TemporaryDirectory();
  const share = buildTree(dir.path);
  using client = new Client(share, { symlinks: "follow" });
  client.walk("sibling");
  expect(client.backend.unlink(asRoot, root, "sibling")).toBe(0);
  expect(readFileSync(join(share, "file"), "utf8")).toBe("inside");
});

test("a known name that becomes a link outside is not followed (CVE-2016-9602, CVE-2018-15664)", () => {
  using dir = new TemporaryDirectory();
  const share = buildTree(dir.path);
  using client = new Client(share);
  const file = client.walk("file");
  const directory = client.walk("dir");
  unlinkSync(join(share, "file"));
  symlinkSync(join(dir.path, "outside/file"), join(share, "file"));
  renameSync(join(share, "dir"), join(share, "moved"));
  symlinkSync(join(dir.path, "outside"), join(share, "dir"));
  expect(client.read(client.open(file))).toBe("inside");
  expect(client.lookup(directory, "file")).toBe("ENOENT");
  client.create(directory, "made");
  expect(lstatSync(join(share, "moved/made")).isFile()).toBe(true);
  expect(() => client.create(root, "file", 0o644, asRoot, O_RDWR)).toThrow("ELOOP");
  expect(readFileSync(join(dir.path, "outside/file"), "utf8")).toBe("CANARY");
});

test("a file and a directory keep what they are while their names move (CVE-2018-19364, CVE-2018-19489)", () => {
  using dir = new TemporaryDirectory();
  const share = buildTree(dir.path);
  using client = new Client(share);
  const file = client.walk("file");
  const deep = client.walk("dir/deep");
  const fh = client.open(file, O_RDWR);
  const { backend } = client;
  expect(outcome(backend.rename(asRoot, root, "file", deep, "moved", 0))).toBe(0);
  expect(outcome(backend.rename(asRoot, root, "dir", root, "elsewhere", 0))).toBe(0);
  // Their old names become others, one of them from the host and leading outside.
  symlinkSync(join(dir.path, "outside"), join(share, "dir"));
  writeFileSync(join(share, "file"), "other");
  client.write(fh, "INSIDE");
  expect(client.read(client.open(file))).toBe("INSIDE");
  expect(client.setattr(file, { valid: FATTR_MODE, mode: 0o600 })).toBe(0);
  expect(client.walk("elsewhere/deep/moved")).toBe(file);
  expect(client.list(deep)).toContain("moved");
  expect(readFileSync(join(share, "file"), "utf8")).toBe("other");
  expect(readFileSync(join(share, "elsewhere/deep/moved"), "utf8")).toBe("INSIDE");
  expect(readFileSync(join(dir.path, "outside/file"), "utf8")).toBe("CANARY");
});

test("a symbolic link as the root is resolved once, when the backend is made (CVE-2021-29136)", () => {
  using dir = new TemporaryDirectory();
  const share = buildTree(dir.path);
  symlinkSync(share, join(dir.path, "root"));
  using client = new Client(join(dir.path, "root"));
  unlinkSync(join(dir.path, "root"));
  symlinkSync(join(dir.path, "outside"), join(dir.path, "root"));
  expect(client.read(client.open(client.walk("file")))).toBe("inside");
});

test("a FIFO on the share is never opened, so that it cannot block (CVE-2023-2861)", () => {
  using dir = new TemporaryDirectory();
  execFileSync("mkfifo", [join(dir.path, "fifo")]);
  using client = new Client(dir.path);
  expect(client.tryOpen(client.walk("fifo"))).toBe("EACCES");
  expect(() => client.create(root, "fifo", 0o644, asRoot, O_RDWR)).toThrow("EACCES");
  expect(client.setattr(client.walk("fifo"), { valid: 8, size: 0 })).toBe("EINVAL");
});

requireFacility("linux", "root").test(
  "a device on the share is never opened (CVE-2020-35517)",
  () => {
    using dir = new TemporaryDirectory();
    execFileSync("mknod", [join(dir.path, "null"), "c", "1", "3"]);
    using client = new Client(dir.path);
    const nodeid = client.walk("null");
    expect(client.entry.attr.rdev).toBe(0x103);
    expect(client.tryOpen(nodeid, O_RDWR)).toBe("EACCES");
    expect(() => client.create(root, "null", 0o644, asRoot, O_RDWR)).toThrow("EACCES");
  },
);

test("open flags that would change what is opened are ignored", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "inside");
  using client = new Client(dir.path);
  const everyFlag = 0x7fff_ffff & ~0o3 & ~0o1000;
  const fh = client.open(client.walk("file"), everyFlag);
  expect(client.read(fh)).toBe("inside");
});
