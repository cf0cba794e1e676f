import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  FALLOC_FL_KEEP_SIZE,
  FATTR_ATIME_NOW,
  FATTR_MODE,
  FATTR_MTIME,
  FATTR_SIZE,
  O_APPEND,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFSOCK,
  SEEK_DATA,
  SEEK_HOLE,
} from "@supermachine/fuse-protocol";
import { TemporaryDirectory } from "@supermachine-internal/testing";
import { expect, test } from "vitest";
import { asRoot, Client, outcome, root } from "./client.js";

test("a file written through the backend is the host's file", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const sub = client.mkdir(root, "sub");
  const [nodeid, fh] = client.create(sub, "file");
  expect(client.write(fh, "hello world")).toBe(11);
  expect(readFileSync(join(dir.path, "sub/file"), "utf8")).toBe("hello world");
  expect(client.attr(nodeid).size).toBe(11);
  expect(client.read(fh, 5, 6)).toBe("world");
  expect(client.attr(nodeid).ino).toBe(statSync(join(dir.path, "sub/file")).ino);
});

test("read and write scatter over many buffers", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const [, fh] = client.create(root, "file");
  const memory = new Uint8Array(4096).map((_, i) => i % 251);
  const parts = [memory.subarray(0, 1), memory.subarray(1, 1000), memory.subarray(1000)];
  expect(client.backend.write(asRoot, root, fh, 3, parts, 0)).toBe(4096);
  const copy = new Uint8Array(6000);
  const into = [copy.subarray(0, 10), copy.subarray(10, 17), copy.subarray(17)];
  expect(client.backend.read(asRoot, root, fh, 3, into)).toBe(4096);
  expect(copy.subarray(0, 4096)).toEqual(memory);
});

test("more buffers than the kernel takes at once are read one batch after the other", async () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), Buffer.alloc(3000, "abcdefg"));
  using client = new Client(dir.path);
  const fh = client.open(client.walk("file"));
  const memory = Buffer.alloc(2500);
  const parts = Array.from(memory, (_, i) => memory.subarray(i, i + 1));
  expect(await client.backend.read(asRoot, root, fh, 1, parts)).toBe(2500);
  expect(memory.equals(Buffer.alloc(3000, "abcdefg").subarray(1, 2501))).toBe(true);
});

test("hard links share a node, and other files do not", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "a"), "");
  writeFileSync(join(dir.path, "c"), "");
  linkSync(join(dir.path, "a"), join(dir.path, "b"));
  using client = new Client(dir.path);
  expect(client.walk("a")).toBe(client.walk("b"));
  expect(client.walk("a")).not.toBe(client.walk("c"));
  expect(client.attr(client.walk("a")).nlink).toBe(2);
});

test("a node lives until every lookup of it is forgotten", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "");
  using client = new Client(dir.path);
  const nodeid = client.walk("file");
  client.walk("file");
  client.backend.forget(nodeid, 1);
  expect(client.backend.inodeCount).toBe(2);
  client.backend.forget(nodeid, 1);
  expect(client.backend.inodeCount).toBe(1);
  expect(client.tryOpen(nodeid)).toBe("ESTALE");
  expect(client.walk("file")).not.toBe(nodeid);
});

test("the root is never forgotten", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  client.backend.forget(root, 1000);
  expect(client.attr(root).ino).toBe(statSync(dir.path).ino);
});

test("a node follows its file through renames on the host", () => {
  using dir = new TemporaryDirectory();
  mkdirSync(join(dir.path, "old"));
  writeFileSync(join(dir.path, "old/file"), "contents");
  using client = new Client(dir.path);
  const directory = client.walk("old");
  const file = client.walk("old/file");
  renameSync(join(dir.path, "old"), join(dir.path, "new"));
  writeFileSync(join(dir.path, "old"), "");
  expect(client.read(client.open(file))).toBe("contents");
  client.create(directory, "made");
  expect(existsSync(join(dir.path, "new/made"))).toBe(true);
});

test("an unlinked file stays usable through its handle and its node", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const [nodeid, fh] = client.create(root, "file");
  client.write(fh, "still here");
  expect(client.backend.unlink(asRoot, root, "file")).toBe(0);
  expect(client.lookup(root, "file")).toBe("ENOENT");
  expect(client.attr(nodeid, fh).nlink).toBe(0);
  expect(client.read(fh)).toBe("still here");
  expect(client.setattr(nodeid, { valid: FATTR_SIZE, size: 5 }, fh)).toBe(0);
  expect(client.read(client.open(nodeid))).toBe("still");
});

test("names that are not one path component are refused", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  for (const name of [".", "..", "a/b", "/", "/etc", "nul\0byte", "../etc"]) {
    expect([name, client.lookup(root, name)]).toEqual([name, "EINVAL"]);
    expect(outcome(client.backend.unlink(asRoot, root, name))).toBe("EINVAL");
    expect(outcome(client.backend.mkdir(asRoot, root, name, 0o755, 0, client.entry))).toBe(
      "EINVAL",
    );
    expect(outcome(client.backend.rename(asRoot, root, "x", root, name, 0))).toBe("EINVAL");
  }
  expect(client.lookup(root, "")).toBe("ENOENT");
  expect(client.lookup(root, "x".repeat(256))).toBe("ENAMETOOLONG");
  expect(client.lookup(root, "\u00e9".repeat(128))).toBe("ENAMETOOLONG");
  expect(client.lookup(root, "x".repeat(255))).toBe("ENOENT");
});

test("names of bytes that are not UTF-8 survive", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const bytes = Buffer.from([0x61, 0xff, 0xc3, 0x28]);
  writeFileSync(Buffer.concat([Buffer.from(`${dir.path}/`), bytes]), "odd");
  const [name] = client.list(root);
  expect(name).toBe("a\udcff\udcc3(");
  expect(client.read(client.open(client.walk(name ?? "")))).toBe("odd");
});

test("rename replaces, refuses to replace, and exchanges", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "a"), "A");
  writeFileSync(join(dir.path, "b"), "B");
  using client = new Client(dir.path);
  const rename = (from: string, to: string, flags: number) =>
    outcome(client.backend.rename(asRoot, root, from, root, to, flags));
  expect(rename("a", "b", RENAME_NOREPLACE)).toBe("EEXIST");
  expect(rename("a", "b", RENAME_EXCHANGE)).toBe(0);
  expect(readFileSync(join(dir.path, "a"), "utf8")).toBe("B");
  expect(rename("a", "b", 0)).toBe(0);
  expect(readFileSync(join(dir.path, "b"), "utf8")).toBe("B");
  expect(rename("a", "b", 0)).toBe("ENOENT");
  expect(rename("b", "c", 0x80)).toBe("EINVAL");
});

test("link gives a second name, also to a symbolic link itself", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "");
  symlinkSync("nowhere", join(dir.path, "link"));
  using client = new Client(dir.path);
  const file = client.walk("file");
  expect(client.backend.link(asRoot, file, root, "file2", client.entry)).toBe(0);
  expect(client.entry.nodeid).toBe(file);
  expect(client.entry.attr.nlink).toBe(2);
  expect(client.backend.link(asRoot, client.walk("link"), root, "link2", client.entry)).toBe(0);
  expect(lstatSync(join(dir.path, "link2")).isSymbolicLink()).toBe(true);
  const sub = client.mkdir(root, "sub");
  expect(outcome(client.backend.link(asRoot, sub, root, "sub2", client.entry))).toBe("EPERM");
});

test("create without O_EXCL opens what is there, with O_EXCL it refuses", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "old");
  using client = new Client(dir.path);
  const [nodeid, fh] = client.create(root, "file");
  expect(client.read(fh)).toBe("old");
  expect(nodeid).toBe(client.walk("file"));
  const excl = 0o200 | O_RDWR;
  expect(() => client.create(root, "file", 0o644, asRoot, excl)).toThrow("EEXIST");
  const [, truncated] = client.create(root, "file", 0o644, asRoot, O_RDWR | O_TRUNC);
  expect(client.read(truncated)).toBe("");
});

test("new files get exactly the mode asked for, whatever the umask of this process", () => {
  using dir = new TemporaryDirectory();
  const before = process.umask(0o077);
  try {
    using client = new Client(dir.path);
    client.create(root, "file", 0o4666);
    client.mkdir(root, "dir", 0o1777);
    client.backend.mknod(asRoot, root, "fifo", S_IFIFO | 0o666, 0, 0, client.entry);
    expect(client.entry.attr.mode).toBe(S_IFIFO | 0o666);
  } finally {
    process.umask(before);
  }
  expect(statSync(join(dir.path, "file")).mode & 0o7777).toBe(0o4666);
  expect(statSync(join(dir.path, "dir")).mode & 0o7777).toBe(0o1777);
  expect(statSync(join(dir.path, "fifo")).mode & 0o7777).toBe(0o666);
});

test("mknod makes FIFOs and sockets and refuses devices", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const mknod = (name: string, mode: number, rdev = 0) =>
    outcome(client.backend.mknod(asRoot, root, name, mode, rdev, 0, client.entry));
  expect(mknod("fifo", S_IFIFO | 0o644)).toBe(0);
  expect(mknod("socket", S_IFSOCK | 0o644)).toBe(0);
  expect(mknod("null", S_IFCHR | 0o666, 0x103)).toBe("EPERM");
  expect(mknod("disk", S_IFBLK | 0o666, 0x800)).toBe("EPERM");
  expect(client.list(root).sort()).toEqual(["fifo", "socket"]);
});

test("setattr changes size, mode and times", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "0123456789");
  using client = new Client(dir.path);
  const nodeid = client.walk("file");
  expect(client.setattr(nodeid, { valid: FATTR_SIZE, size: 4 })).toBe(0);
  expect(client.setattr(nodeid, { valid: FATTR_MODE, mode: 0o100600 })).toBe(0);
  const mtime = { valid: FATTR_MTIME, mtime: -2, mtimensec: 500_000_000 };
  expect(client.setattr(nodeid, mtime)).toBe(0);
  const attr = client.attr(nodeid);
  expect(attr).toMatchObject({ size: 4, mode: 0o100600, mtime: -2, mtimensec: 500_000_000 });
  expect(client.setattr(nodeid, { valid: FATTR_ATIME_NOW })).toBe(0);
  expect(Math.abs(client.attr(nodeid).atime - Date.now() / 1000)).toBeLessThan(5);
  expect(client.attr(nodeid).mtime).toBe(-2);
});

test("times of a symbolic link are its own", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "");
  symlinkSync("file", join(dir.path, "link"));
  using client = new Client(dir.path);
  expect(client.setattr(client.walk("link"), { valid: FATTR_MTIME, mtime: 12345 })).toBe(0);
  expect(lstatSync(join(dir.path, "link")).mtimeMs).toBe(12_345_000);
  expect(statSync(join(dir.path, "file")).mtimeMs).not.toBe(12_345_000);
});

test("appending writes go to the end, also of what the host has appended", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "log"), "one");
  using client = new Client(dir.path);
  const fh = client.open(client.walk("log"), O_WRONLY | O_APPEND);
  writeFileSync(join(dir.path, "log"), "two", { flag: "a" });
  client.write(fh, "three", 3);
  expect(readFileSync(join(dir.path, "log"), "utf8")).toBe("onetwothree");
});

test("fallocate, holes and copyFileRange reach the host", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const { backend } = client;
  const [nodeid, fh] = client.create(root, "sparse");
  expect(backend.fallocate(asRoot, nodeid, fh, FALLOC_FL_KEEP_SIZE, 0, 65536)).toBe(0);
  expect(client.attr(nodeid)).toMatchObject({ size: 0 });
  expect(client.attr(nodeid).blocks).toBeGreaterThanOrEqual(128);
  const [, holes] = client.create(root, "holes");
  client.write(holes, "end", 1 << 20);
  expect(backend.lseek(asRoot, root, holes, 0, SEEK_DATA)).toBe(1 << 20);
  expect(backend.lseek(asRoot, root, holes, 0, SEEK_HOLE)).toBe(0);
  expect(outcome(backend.lseek(asRoot, root, holes, 0, 0))).toBe("EINVAL");
  const [, copy] = client.create(root, "copy");
  expect(backend.copyFileRange(asRoot, root, holes, 1 << 20, root, copy, 2, 3)).toBe(3);
  expect(client.read(copy)).toBe("\0\0end");
});

test("a handle that is not open for writing does not write", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "kept");
  using client = new Client(dir.path);
  const nodeid = client.walk("file");
  const fh = client.open(nodeid);
  expect(outcome(client.write(fh, "lost"))).toBe("EBADF");
  expect(client.setattr(nodeid, { valid: FATTR_SIZE, size: 0 }, fh)).toBe("EBADF");
  expect(outcome(client.write(fh + 1000, "lost"))).toBe("EBADF");
  expect(readFileSync(join(dir.path, "file"), "utf8")).toBe("kept");
});
