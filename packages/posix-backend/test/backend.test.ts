import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
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
  RENAME_WHITEOUT,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFSOCK,
  SEEK_DATA,
  SEEK_HOLE,
} from "@supermachine/fuse-protocol";
import { StatfsReply, StatxReply } from "@supermachine/fuse-server";
import { openDescriptors, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect, test } from "vitest";
import { PosixBackend } from "../src/index.js";
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
  expect(rename("b", "c", RENAME_WHITEOUT)).toBe(0);
  expect(statSync(join(dir.path, "b")).isCharacterDevice()).toBe(true);
  expect(statSync(join(dir.path, "b")).rdev).toBe(0);
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

test("a temporary file has no name until it is linked", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const { backend, entry, opened } = client;
  expect(backend.tmpfile(asRoot, root, 0o600, 0, O_RDWR, entry, opened)).toBe(0);
  const { nodeid } = entry;
  client.write(opened.fh, "hidden");
  expect(client.list(root)).toEqual([]);
  expect(backend.link(asRoot, nodeid, root, "shown", entry)).toBe(0);
  expect(readFileSync(join(dir.path, "shown"), "utf8")).toBe("hidden");
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

test("readdir resumes after the last record, in any chunking", () => {
  using dir = new TemporaryDirectory();
  const names = Array.from({ length: 2000 }, (_, i) => `file-${i}`);
  for (const name of names) writeFileSync(join(dir.path, name), "");
  using client = new Client(dir.path);
  expect(client.list(root).sort()).toEqual([...names].sort());
  expect(client.list(root, 7).sort()).toEqual([...names].sort());
});

test("readdir stays right while listed names are removed", () => {
  using dir = new TemporaryDirectory();
  for (let i = 0; i < 3000; i++) writeFileSync(join(dir.path, `file-${i}`), "");
  using client = new Client(dir.path);
  const { backend, opened } = client;
  backend.opendir(asRoot, root, 0, opened);
  const { fh } = opened;
  let offset = 0;
  const seen: string[] = [];
  for (;;) {
    const batch: string[] = [];
    const add = (name: string, _ino: number, _type: number, next: number): boolean => {
      if (batch.length === 11) return false;
      batch.push(name);
      offset = next;
      return true;
    };
    backend.readdir(asRoot, root, fh, offset, { add });
    if (batch.length === 0) break;
    for (const name of batch) {
      if (name === "." || name === "..") continue;
      seen.push(name);
      unlinkSync(join(dir.path, name));
    }
  }
  expect(seen.length).toBe(3000);
  expect(new Set(seen).size).toBe(3000);
});

test("readdir goes back to an earlier cookie", () => {
  using dir = new TemporaryDirectory();
  for (let i = 0; i < 500; i++) writeFileSync(join(dir.path, `file-${i}`), "");
  using client = new Client(dir.path);
  const { backend, opened } = client;
  backend.opendir(asRoot, root, 0, opened);
  const listing: { name: string; next: number }[] = [];
  const list = (offset: number) => {
    listing.length = 0;
    const add = (name: string, _ino: number, _type: number, next: number) => {
      listing.push({ name, next });
      return true;
    };
    expect(outcome(backend.readdir(asRoot, root, opened.fh, offset, { add }))).toBe(0);
    return listing.slice();
  };
  const all = list(0);
  const middle = all[250];
  expect(list(middle?.next ?? 0).map((record) => record.name)).toEqual(
    all.slice(251).map((record) => record.name),
  );
  // Nobody was given this one. Some file systems can tell, on others it is behind the last record.
  const unknown: string[] = [];
  const add = (name: string) => unknown.push(name) > 0;
  const result = outcome(backend.readdir(asRoot, root, opened.fh, 2 ** 53 - 1, { add }));
  expect([0, "EINVAL"]).toContain(result);
  expect(unknown).toEqual([]);
});

test("readdirplus counts a lookup for each record that fits, and for no other", () => {
  using dir = new TemporaryDirectory();
  for (let i = 0; i < 20; i++) writeFileSync(join(dir.path, `file-${i}`), "");
  using client = new Client(dir.path);
  const found = client.listPlus(root, 10);
  const nodes = [...found.values()].filter((nodeid) => nodeid !== 0);
  expect(client.backend.inodeCount).toBe(1 + nodes.length);
  for (const nodeid of nodes) client.backend.forget(nodeid, 1);
  expect(client.backend.inodeCount).toBe(1);
  expect(client.listPlus(root, 100).size).toBe(22);
});

test("`..` of the root does not show what is outside", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const { backend, opened } = client;
  backend.opendir(asRoot, root, 0, opened);
  const inos = new Map<string, number>();
  const add = (name: string, ino: number) => inos.set(name, ino).size > 0;
  backend.readdir(asRoot, root, opened.fh, 0, { add });
  expect(inos.get("..")).toBe(statSync(dir.path).ino);
});

test("a read-only share refuses every change", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "kept");
  using client = new Client(dir.path, { readOnly: true });
  const { backend, entry, opened } = client;
  const nodeid = client.walk("file");
  const results = {
    create: backend.create(asRoot, root, "x", 0o644, 0, O_RDWR, entry, opened, 0),
    tmpfile: backend.tmpfile(asRoot, root, 0o644, 0, O_RDWR, entry, opened),
    mkdir: backend.mkdir(asRoot, root, "x", 0o755, 0, entry),
    mknod: backend.mknod(asRoot, root, "x", S_IFIFO, 0, 0, entry),
    symlink: backend.symlink(asRoot, root, "x", "y", entry),
    link: backend.link(asRoot, nodeid, root, "x", entry),
    unlink: backend.unlink(asRoot, root, "file"),
    rmdir: backend.rmdir(asRoot, root, "file"),
    rename: backend.rename(asRoot, root, "file", root, "x", 0),
    write: backend.open(asRoot, nodeid, O_WRONLY, opened, 0),
    truncate: backend.open(asRoot, nodeid, O_TRUNC, opened, 0),
    setxattr: backend.setxattr(asRoot, nodeid, "user.x", Buffer.from("x"), 0),
    removexattr: backend.removexattr(asRoot, nodeid, "user.x"),
  };
  for (const [operation, result] of Object.entries(results)) {
    expect([operation, outcome(result)]).toEqual([operation, "EROFS"]);
  }
  expect(client.setattr(nodeid, { valid: FATTR_SIZE, size: 0 })).toBe("EROFS");
  expect(client.read(client.open(nodeid))).toBe("kept");
});

test("extended attributes of users pass, others are hidden and refused", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const { backend } = client;
  const [nodeid] = client.create(root, "file");
  const value = Buffer.from("value");
  expect(outcome(backend.setxattr(asRoot, nodeid, "user.key", value, 0))).toBe(0);
  expect(outcome(backend.setxattr(asRoot, nodeid, "user.key", value, 1))).toBe("EEXIST");
  expect(backend.getxattr(asRoot, nodeid, "user.key", Buffer.alloc(0))).toBe(5);
  const out = Buffer.alloc(5);
  expect(backend.getxattr(asRoot, nodeid, "user.key", out)).toBe(5);
  expect(out.toString()).toBe("value");
  expect(outcome(backend.getxattr(asRoot, nodeid, "user.key", Buffer.alloc(2)))).toBe("ERANGE");
  expect(outcome(backend.getxattr(asRoot, nodeid, "user.none", out))).toBe("ENODATA");
  for (const name of ["security.capability", "trusted.x", "system.posix_acl_access"]) {
    expect(outcome(backend.setxattr(asRoot, nodeid, name, value, 0))).toBe("EOPNOTSUPP");
    expect(outcome(backend.getxattr(asRoot, nodeid, name, out))).toBe("EOPNOTSUPP");
  }
  using privileged = new Client(dir.path, { privilegedXattrs: true });
  const same = privileged.walk("file");
  expect(outcome(privileged.backend.setxattr(asRoot, same, "trusted.x", value, 0))).toBe(0);
  const list = Buffer.alloc(100);
  expect(list.toString("latin1", 0, privileged.backend.listxattr(asRoot, same, list))).toContain(
    "trusted.x\0",
  );
  expect(list.toString("latin1", 0, backend.listxattr(asRoot, nodeid, list))).toBe("user.key\0");
  expect(backend.listxattr(asRoot, nodeid, Buffer.alloc(0))).toBe(9);
  expect(outcome(backend.listxattr(asRoot, nodeid, Buffer.alloc(8)))).toBe("ERANGE");
  expect(outcome(backend.removexattr(asRoot, nodeid, "user.key"))).toBe(0);
});

test("statfs and statx give the host's figures", async () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const reply = new StatfsReply();
  expect(client.backend.statfs(asRoot, root, reply)).toBe(0);
  expect(reply.blocks).toBeGreaterThan(0);
  expect(reply.namelen).toBe(255);
  const statx = new StatxReply();
  expect(client.backend.statx(asRoot, root, undefined, 0, 0xfff, statx)).toBe(0);
  const host = statSync(dir.path);
  expect(statx.btime.seconds).toBe(Math.floor(host.birthtimeMs / 1000));
  expect(statx.ino).toBe(host.ino);
  expect(await client.backend.syncfs(asRoot, root)).toBe(0);
});

test("cache policies set how long names and attributes are trusted", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "");
  const valid = (cache: "none" | "auto" | "always") => {
    using client = new Client(dir.path, { cache });
    client.walk("file");
    return [client.entry.entryValidMs, client.entry.attrValidMs, client.lookup(root, "absent")];
  };
  expect(valid("none")).toEqual([0, 0, "ENOENT"]);
  expect(valid("auto")).toEqual([1000, 1000, "ENOENT"]);
  expect(valid("always")).toEqual([Infinity, Infinity, 0]);
});

test("limits hold and the rest goes on (CVE-2020-10717)", () => {
  using dir = new TemporaryDirectory();
  for (let i = 0; i < 20; i++) writeFileSync(join(dir.path, `file-${i}`), "");
  using client = new Client(dir.path, { maxInodes: 5, maxHandles: 3 });
  for (let i = 0; i < 4; i++) expect(client.lookup(root, `file-${i}`)).toBe(0);
  expect(client.lookup(root, "file-4")).toBe("ENFILE");
  expect(() => client.create(root, "new")).toThrow("ENFILE");
  expect(existsSync(join(dir.path, "new"))).toBe(false);
  const file = client.walk("file-0");
  for (let i = 0; i < 3; i++) expect(client.tryOpen(file)).toBe(0);
  expect(client.tryOpen(file)).toBe("ENFILE");
  client.backend.release(asRoot, file, client.opened.fh);
  expect(client.tryOpen(file)).toBe(0);
  client.backend.forget(client.walk("file-1"), 2);
  expect(client.lookup(root, "file-4")).toBe(0);
});

test("close releases every fd, and destroy those of its session", () => {
  using dir = new TemporaryDirectory();
  for (let i = 0; i < 50; i++) writeFileSync(join(dir.path, `file-${i}`), "");
  new Client(dir.path).backend.close();
  const before = openDescriptors().length;
  const client = new Client(dir.path);
  const fresh = openDescriptors().length;
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 50; i++) client.open(client.walk(`file-${i}`));
    client.listPlus(root, 20);
    client.backend.opendir(asRoot, root, 0, client.opened);
    client.create(root, "file-0");
    expect(openDescriptors().length).toBeGreaterThan(fresh + 100);
    client.backend.destroy();
    expect(openDescriptors().length).toBe(fresh);
  }
  client.walk("file-0");
  client.backend.close();
  client.backend.close();
  expect(openDescriptors().length).toBe(before);
  expect(client.lookup(root, "file-0")).toBe("ESTALE");
});

test("every fd is closed when a program is started (CVE-2019-5736, CVE-2024-21626)", () => {
  using dir = new TemporaryDirectory();
  const before = new Set(openDescriptors());
  using client = new Client(dir.path);
  client.create(root, "file");
  client.backend.opendir(asRoot, root, 0, client.opened);
  client.backend.tmpfile(asRoot, root, 0o600, 0, O_RDWR, client.entry, client.opened);
  const added = openDescriptors().filter((fd) => !before.has(fd));
  const flags = added.flatMap((fd) => {
    const path = `/proc/self/fdinfo/${fd}`;
    // The listing's own fd is gone by now.
    if (!existsSync(path)) return [];
    const match = /^flags:\s*([0-7]+)/m.exec(readFileSync(path, "latin1"));
    return [Number.parseInt(match?.[1] ?? "0", 8) & 0o2000000];
  });
  // Seven are new, but `before` holds that listing's own fd, whose number is in use again.
  expect(flags.length).toBeGreaterThanOrEqual(6);
  expect(new Set(flags)).toEqual(new Set([0o2000000]));
});

test("failed operations leak no fd", () => {
  using dir = new TemporaryDirectory();
  symlinkSync("target", join(dir.path, "link"));
  using client = new Client(dir.path, { symlinks: "follow", maxInodes: 2 });
  client.lookup(root, "link");
  const before = openDescriptors().length;
  for (let i = 0; i < 10; i++) {
    client.lookup(root, "absent");
    client.lookup(root, "link");
    client.tryOpen(client.entry.nodeid);
    client.tryOpen(root);
    expect(() => client.create(root, "new")).toThrow();
  }
  expect(openDescriptors().length).toBe(before);
});

test("a root that cannot be shared and a wrong option are told clearly", () => {
  using dir = new TemporaryDirectory();
  const file = join(dir.path, "file");
  writeFileSync(file, "");
  const before = openDescriptors().length;
  expect(() => new PosixBackend(file)).toThrow(/cannot share .*file: ENOTDIR/);
  expect(() => new PosixBackend(join(dir.path, "absent"))).toThrow(
    expect.objectContaining({ code: "ERR_POSIX_ROOT" }),
  );
  expect(() => new PosixBackend(dir.path, { maxInodes: 0 })).toThrow(
    expect.objectContaining({ code: "ERR_POSIX_OPTION" }),
  );
  expect(openDescriptors().length).toBe(before);
});
