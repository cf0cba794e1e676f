import { execFile, execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { mount } from "@supermachine/fuse-mount";
import {
  FATTR_GID,
  FATTR_SIZE,
  FATTR_UID,
  FOPEN_DIRECT_IO,
  FOPEN_KEEP_CACHE,
  FUSE_ATTR_SUBMOUNT,
  FUSE_DONT_MASK,
  FUSE_POSIX_ACL,
  FUSE_SETXATTR_ACL_KILL_SGID,
  FUSE_SUBMOUNTS,
  O_RDWR,
  O_TRUNC,
  S_IFBLK,
  S_IFCHR,
} from "@supermachine/fuse-protocol";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect, test } from "vitest";
import { PosixBackend, PosixBackendError, type PosixBackendOptions } from "../src/index.js";
import { asRoot, Client, callerContext, outcome, root } from "./client.js";
import { mounting } from "./mounting.js";

const run = promisify(execFile);
const asSuperuser = requireFacility("linux", "root").test;
const alice = callerContext(1000, 1001);

/** A client that has agreed on `flags`. */
function connect(path: string, options: PosixBackendOptions, flags = 0n, hostKernel = false) {
  const client = new Client(path, options);
  client.backend.init({ minor: 40, flags, maxWrite: 4096, maxReadahead: 0, hostKernel });
  return client;
}

function names(client: Client, nodeid: number, ctx = asRoot): string[] {
  const list = Buffer.alloc(1000);
  const length = client.backend.listxattr(ctx, nodeid, list);
  return list.toString("latin1", 0, length).split("\0").slice(0, -1).sort();
}

test.each<PosixBackendOptions>([
  { xattrMap: ":ok:" },
  { translateUid: ["map:1"] },
  { translateGid: ["map:0:0:10", "map:5:5:1"] },
  { entryTimeoutMs: -1 },
  { attrTimeoutMs: Number.NaN },
  { maxHandles: 0 },
])("the options %j are refused", (options) => {
  using dir = new TemporaryDirectory();
  expect(() => new PosixBackend(dir.path, options)).toThrow(PosixBackendError);
});

test("timeouts are those of the cache policy, or as given", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "");
  const times = (options: PosixBackendOptions) => {
    using client = new Client(dir.path, options);
    client.lookup(root, "file");
    const { entryValidMs, attrValidMs, nodeid } = client.entry;
    const absent = client.lookup(root, "absent");
    const negative = absent === 0 ? client.entry.entryValidMs : absent;
    client.open(nodeid);
    return [entryValidMs, attrValidMs, negative, client.opened.flags];
  };
  const ever = Number.POSITIVE_INFINITY;
  expect(times({ cache: "none" })).toEqual([0, 0, "ENOENT", 0]);
  expect(times({ cache: "auto" })).toEqual([1000, 1000, "ENOENT", 0]);
  expect(times({ cache: "metadata" })).toEqual([ever, ever, ever, FOPEN_DIRECT_IO]);
  expect(times({ cache: "always" })).toEqual([ever, ever, ever, FOPEN_KEEP_CACHE]);
  expect(
    times({ cache: "always", entryTimeoutMs: 5, attrTimeoutMs: 6, negativeTimeoutMs: 7 }),
  ).toEqual([5, 6, 7, FOPEN_KEEP_CACHE]);
});

asSuperuser("only the kernel of this host makes devices, unless the option says otherwise", () => {
  using dir = new TemporaryDirectory();
  const make = (options: PosixBackendOptions, hostKernel: boolean, mode: number, rdev: number) => {
    using client = connect(dir.path, options, 0n, hostKernel);
    const { backend, entry } = client;
    const result = outcome(backend.mknod(asRoot, root, "node", mode, rdev, 0, entry));
    backend.unlink(asRoot, root, "node");
    return result;
  };
  expect(make({}, false, S_IFCHR | 0o600, 0x103)).toBe("EPERM");
  expect(make({}, false, S_IFBLK | 0o600, 0)).toBe("EPERM");
  expect(make({}, true, S_IFBLK | 0o600, 0x103)).toBe(0);
  expect(make({ devices: false }, true, S_IFCHR | 0o600, 0x103)).toBe("EPERM");
  expect(make({ devices: true }, false, S_IFCHR | 0o600, 0x103)).toBe(0);
  // A whiteout, which overlayfs makes for anyone.
  expect(make({}, false, S_IFCHR, 0)).toBe(0);
});

asSuperuser(
  "a device has the number that it was made with, and is never opened (CVE-2020-35517)",
  () => {
    using dir = new TemporaryDirectory();
    using client = connect(dir.path, {}, 0n, true);
    const rdev = (0x54 & 0xff) | (259 << 8) | ((0x12354 & ~0xff) << 12);
    client.backend.mknod(asRoot, root, "disk", S_IFBLK | 0o666, rdev, 0, client.entry);
    expect(client.entry.attr.rdev).toBe(rdev >>> 0);
    const shown = execFileSync("stat", ["-c", "%t %T", join(dir.path, "disk")], {
      encoding: "latin1",
    });
    expect(shown.trim()).toBe("103 12354");
    expect(client.tryOpen(client.entry.nodeid, O_RDWR)).toBe("EACCES");
  },
);

asSuperuser("ids are translated in attributes, for new files, and in changes of owner", () => {
  using dir = new TemporaryDirectory();
  const rules = ["map:0:100000:65536", "forbid-guest:65536:100", "squash-host:0:65534:100000"];
  using client = connect(dir.path, { translateUid: rules, translateGid: rules });
  const owners = (name: string) => {
    const host = statSync(join(dir.path, name));
    const { attr } = client.walk(name) === 0 ? client.entry : client.entry;
    return [host.uid, host.gid, attr.uid, attr.gid];
  };
  client.create(root, "file", 0o644, alice);
  expect(owners("file")).toEqual([101000, 101001, 1000, 1001]);
  client.mkdir(root, "dir", 0o755, asRoot);
  expect(owners("dir")).toEqual([100000, 100000, 0, 0]);
  writeFileSync(join(dir.path, "host"), "");
  expect(owners("host")).toEqual([0, 0, 65534, 65534]);
  const file = client.walk("file");
  const change = { valid: FATTR_UID | FATTR_GID, uid: 5, gid: 6 };
  expect(client.setattr(file, change)).toBe(0);
  expect(owners("file")).toEqual([100005, 100006, 5, 6]);
  expect(client.setattr(file, { ...change, uid: 65540 })).toBe("EPERM");
  const stranger = callerContext(65540, 1);
  const { backend, entry } = client;
  expect(outcome(backend.mkdir(stranger, root, "no", 0o755, 0, entry))).toBe("EPERM");
  expect(client.setattr(file, { valid: FATTR_UID, uid: 7 })).toBe(0);
  expect(owners("file")).toEqual([100007, 100006, 7, 6]);
});

asSuperuser("attribute names are mapped, and what is listed can be read", () => {
  using dir = new TemporaryDirectory();
  const path = join(dir.path, "file");
  writeFileSync(path, "");
  execFileSync("setfattr", ["-n", "trusted.host", "-v", "1", path]);
  using client = connect(dir.path, { xattrMap: ":map:trusted.:user.virtiofs.:" });
  const { backend } = client;
  const file = client.walk("file");
  expect(outcome(backend.setxattr(asRoot, file, "trusted.x", Buffer.from("1"), 0))).toBe(0);
  expect(outcome(backend.setxattr(asRoot, file, "user.y", Buffer.from("2"), 0))).toBe(0);
  expect(outcome(backend.setxattr(asRoot, file, "user.virtiofs.z", Buffer.from("3"), 0))).toBe(
    "EPERM",
  );
  expect(names(client, file)).toEqual(["trusted.x", "user.y"]);
  expect(names(client, file, alice)).toEqual(["user.y"]);
  expect(outcome(backend.getxattr(asRoot, file, "trusted.host", Buffer.alloc(9)))).toBe("ENODATA");
  const onHost = execFileSync("getfattr", ["-m", "-", path], { encoding: "latin1" });
  expect(onHost.match(/^\S+\..*$/gm)?.sort()).toEqual([
    "trusted.host",
    "user.virtiofs.trusted.x",
    "user.y",
  ]);
  expect(outcome(backend.removexattr(asRoot, file, "trusted.x"))).toBe(0);
  expect(names(client, file)).toEqual(["user.y"]);
});

test("without `xattr` there are none, and the client's kernel stops asking", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path, { xattr: false });
  const { backend } = client;
  const value = Buffer.from("1");
  expect([
    outcome(backend.setxattr(asRoot, root, "user.x", value, 0)),
    outcome(backend.getxattr(asRoot, root, "user.x", value)),
    outcome(backend.listxattr(asRoot, root, value)),
    outcome(backend.removexattr(asRoot, root, "user.x")),
  ]).toEqual(["ENOSYS", "ENOSYS", "ENOSYS", "ENOSYS"]);
});

asSuperuser(
  "capabilities under another name are dropped when the file changes (CVE-2021-20263)",
  () => {
    using dir = new TemporaryDirectory();
    using client = connect(dir.path, { xattrMap: ":map:security.:user.guest.:" });
    const { backend } = client;
    const [file, fh] = client.create(root, "file");
    const changes = {
      write: () => client.write(fh, "x"),
      truncate: () => client.setattr(file, { valid: FATTR_SIZE, size: 0 }, fh),
      "truncate by name": () => client.setattr(file, { valid: FATTR_SIZE, size: 0 }),
      chown: () => client.setattr(file, { valid: FATTR_UID, uid: 1000 }),
      open: () => client.open(file, O_RDWR | O_TRUNC),
      fallocate: () => backend.fallocate(asRoot, file, fh, 0, 0, 10),
      copy: () => backend.copyFileRange(asRoot, file, fh, 0, file, fh, 5, 2),
    };
    for (const [name, change] of Object.entries(changes)) {
      const set = backend.setxattr(asRoot, file, "security.capability", Buffer.alloc(20), 0);
      expect([name, outcome(set), names(client, file)]).toEqual([name, 0, ["security.capability"]]);
      change();
      expect([name, names(client, file)]).toEqual([name, []]);
    }
  },
);

requireFacility("linux", "root", "program:setfacl").describe("access control lists", () => {
  const acls: PosixBackendOptions = { posixAcl: true };
  const flags = FUSE_POSIX_ACL | FUSE_DONT_MASK;
  const modeOf = (path: string) => (statSync(path).mode & 0o7777).toString(8);

  test("a default list gives new files their mode, not the umask of the client or of this process", () => {
    using dir = new TemporaryDirectory();
    mkdirSync(join(dir.path, "listed"));
    execFileSync("setfacl", ["-d", "-m", "u::rwx,g::rwx,o::-", join(dir.path, "listed")]);
    using client = connect(dir.path, acls, BigInt(flags));
    const { backend, entry, opened } = client;
    const before = process.umask(0o022);
    try {
      const listed = client.walk("listed");
      for (const [parent, prefix] of [
        [root, ""],
        [listed, "listed/"],
      ] as const) {
        backend.mkdir(alice, parent, "dir", 0o777, 0o077, entry);
        backend.create(alice, parent, "file", 0o666, 0o077, O_RDWR, entry, opened, 0);
        backend.mknod(alice, parent, "node", 0o666, 0, 0o077, entry);
        const modes = ["dir", "file", "node"].map((name) => modeOf(join(dir.path, prefix, name)));
        expect(modes).toEqual(prefix === "" ? ["700", "600", "600"] : ["770", "660", "660"]);
      }
    } finally {
      process.umask(before);
    }
  });

  test("a default list of the host holds for a client that knows of none", () => {
    using dir = new TemporaryDirectory();
    execFileSync("setfacl", ["-d", "-m", "u::rwx,g::-,o::-", dir.path]);
    using client = connect(dir.path, {});
    client.create(root, "file", 0o644);
    client.mkdir(root, "dir", 0o755);
    expect([modeOf(join(dir.path, "file")), modeOf(join(dir.path, "dir"))]).toEqual(["600", "700"]);
    const { backend } = client;
    const list = "system.posix_acl_default";
    expect(outcome(backend.getxattr(asRoot, root, list, Buffer.alloc(100)))).toBe("EOPNOTSUPP");
    expect(names(client, root)).toEqual([]);
  });

  test("lists can be read and set, and setting one may clear the set-group-id bit", () => {
    using dir = new TemporaryDirectory();
    const path = join(dir.path, "file");
    writeFileSync(path, "");
    chownSync(path, 1000, 5000);
    chmodSync(path, 0o2770);
    execFileSync("setfacl", ["-m", "u:1001:rw", path]);
    using client = connect(dir.path, acls, BigInt(flags));
    const { backend } = client;
    const file = client.walk("file");
    const name = "system.posix_acl_access";
    expect(names(client, file)).toEqual([name]);
    const value = Buffer.alloc(100);
    const length = backend.getxattr(asRoot, file, name, value);
    expect(length).toBeGreaterThan(4);
    const list = value.subarray(0, length);
    expect(outcome(backend.setxattr(asRoot, file, name, list, 0))).toBe(0);
    expect(modeOf(path)).toBe("2770");
    const kill = FUSE_SETXATTR_ACL_KILL_SGID;
    expect(outcome(backend.setxattr(alice, file, name, list, 0, kill))).toBe(0);
    expect(modeOf(path)).toBe("770");
    expect(outcome(backend.removexattr(asRoot, file, name))).toBe(0);
    expect(names(client, file)).toEqual([]);
  });
});

const seeker = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
  int fd = open(argv[1], O_CREAT | O_RDWR, 0600);
  ftruncate(fd, 1 << 20);
  pwrite(fd, "data", 4, 500000);
  off_t data = lseek(fd, 0, SEEK_DATA);
  puts(data >= 0 && data <= 500000 ? "found" : "lost");
}`;

requireFacility("linux", "root", "fuse", "program:cc").test(
  "with the writeback cache a program that looks for data finds what is not written yet",
  async () => {
    using dir = new TemporaryDirectory();
    const [host, path] = [join(dir.path, "host"), join(dir.path, "mounted")];
    mkdirSync(host);
    mkdirSync(path);
    execFileSync("cc", ["-w", "-o", join(dir.path, "seek"), "-x", "c", "-"], { input: seeker });
    using backend = new PosixBackend(host, { writeback: true });
    await using _ = await mount(backend, path);
    const { stdout } = await run(join(dir.path, "seek"), [join(path, "file")]);
    expect(stdout).toBe("found\n");
  },
);

asSuperuser("access answers for the caller, by mode and owner", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "");
  chownSync(join(dir.path, "file"), 1000, 5000);
  chmodSync(join(dir.path, "file"), 0o640);
  using client = new Client(dir.path);
  const file = client.walk("file");
  const access = (uid: number, gid: number, mask: number) =>
    outcome(client.backend.access(callerContext(uid, gid), file, mask));
  expect([access(1000, 1000, 6), access(1000, 1000, 1)]).toEqual([0, "EACCES"]);
  expect([access(7, 5000, 4), access(7, 5000, 2)]).toEqual([0, "EACCES"]);
  expect([access(7, 7, 4), access(7, 7, 0), access(0, 0, 6)]).toEqual(["EACCES", 0, 0]);
  using readOnly = new Client(dir.path, { readOnly: true });
  expect(outcome(readOnly.backend.access(asRoot, readOnly.walk("file"), 2))).toBe("EROFS");
});

requireFacility("linux", "root", mounting).test(
  "submounts are announced to a client that asks, and are a share like any other",
  () => {
    using dir = new TemporaryDirectory();
    const inner = join(dir.path, "dir/inner");
    mkdirSync(inner, { recursive: true });
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "none", inner]);
    try {
      writeFileSync(join(inner, "file"), "inside");
      const flagsOf = (options: PosixBackendOptions, flags: bigint) => {
        using client = connect(dir.path, options, flags);
        client.walk("dir");
        const outer = client.entry.attr.flags & FUSE_ATTR_SUBMOUNT;
        client.walk("dir/inner");
        const mounted = client.entry.attr.flags & FUSE_ATTR_SUBMOUNT;
        expect(client.read(client.open(client.walk("dir/inner/file")))).toBe("inside");
        return [outer, mounted];
      };
      const submounts = BigInt(FUSE_SUBMOUNTS);
      expect(flagsOf({ announceSubmounts: true }, submounts)).toEqual([0, FUSE_ATTR_SUBMOUNT]);
      expect(flagsOf({ announceSubmounts: true }, 0n)).toEqual([0, 0]);
      expect(flagsOf({}, submounts)).toEqual([0, 0]);
    } finally {
      execFileSync("umount", ["-l", inner]);
    }
  },
);
