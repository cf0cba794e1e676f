import { existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FATTR_SIZE, O_RDWR, O_TRUNC, O_WRONLY, S_IFIFO } from "@supermachine/fuse-protocol";
import { StatfsReply, StatxReply } from "@supermachine/fuse-server";
import { openDescriptors, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect, test } from "vitest";
import { PosixBackend } from "../src/index.js";
import { isPortable } from "../src/platform/host.js";
import { asRoot, Client, outcome, root } from "./client.js";

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
  // `before` holds that listing's own fd, whose number is in use again. Elsewhere there are fewer.
  expect(flags.length).toBeGreaterThanOrEqual(isPortable ? 3 : 6);
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
