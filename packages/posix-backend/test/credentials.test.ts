import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  FATTR_CTIME,
  FATTR_GID,
  FATTR_KILL_SUIDGID,
  FATTR_MODE,
  FATTR_SIZE,
  FATTR_UID,
  FUSE_OPEN_KILL_SUIDGID,
  FUSE_WRITE_KILL_SUIDGID,
  O_RDWR,
  O_TRUNC,
  S_IFIFO,
} from "@supermachine/fuse-protocol";
import type { RequestContext } from "@supermachine/fuse-server";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect } from "vitest";
import { asRoot, Client, callerContext, outcome, root } from "./client.js";

const { test } = requireFacility("linux", "root");
const alice = callerContext(1000, 1001);

function ownerAndMode(path: string): string {
  const { uid, gid, mode } = statSync(path);
  return `${uid}:${gid} ${(mode & 0o7777).toString(8)}`;
}

test("new files of every kind belong to the caller", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const { backend, entry, opened } = client;
  const owner = () => `${entry.attr.uid}:${entry.attr.gid}`;
  client.create(root, "file", 0o640, alice);
  expect(owner()).toBe("1000:1001");
  client.mkdir(root, "dir", 0o750, alice);
  expect(owner()).toBe("1000:1001");
  backend.mknod(alice, root, "fifo", S_IFIFO | 0o600, 0, 0, entry);
  expect(owner()).toBe("1000:1001");
  backend.symlink(alice, root, "link", "target", entry);
  expect(owner()).toBe("1000:1001");
  backend.tmpfile(alice, root, 0o600, 0, O_RDWR, entry, opened);
  expect(owner()).toBe("1000:1001");
  expect(ownerAndMode(join(dir.path, "file"))).toBe("1000:1001 640");
});

test("after a creation this process has its own credentials again", () => {
  using dir = new TemporaryDirectory();
  const status = () =>
    execFileSync("grep", ["-E", "^(Uid|Gid|Groups|Cap...):", `/proc/${process.pid}/status`], {
      encoding: "latin1",
    });
  const before = status();
  using client = new Client(dir.path);
  client.create(root, "file", 0o2770, callerContext(1000, 1000, 27));
  expect(() => client.create(root, "file", 0o2770, callerContext(1000, 1000), 0o202)).toThrow();
  expect(status()).toBe(before);
  writeFileSync(join(dir.path, "own"), "");
  expect(ownerAndMode(join(dir.path, "own"))).toMatch(/^0:0 /);
});

test("a caller may create where only a group of its own, unknown here, may write", () => {
  using dir = new TemporaryDirectory();
  mkdirSync(join(dir.path, "shared"));
  chownSync(join(dir.path, "shared"), 0, 5000);
  chmodSync(join(dir.path, "shared"), 0o770);
  using client = new Client(dir.path);
  client.create(client.walk("shared"), "file", 0o644, alice);
  expect(ownerAndMode(join(dir.path, "shared/file"))).toBe("1000:1001 644");
});

test("in a set-group-id directory files get its group, and no set-group-id bit of strangers (CVE-2022-0358)", () => {
  using dir = new TemporaryDirectory();
  const shared = join(dir.path, "shared");
  mkdirSync(shared);
  // A group that this process, root, is in: it must not lend its membership.
  chownSync(shared, 0, 0);
  chmodSync(shared, 0o2777);
  using client = new Client(dir.path);
  const node = client.walk("shared");
  client.create(node, "stranger", 0o2755, alice);
  expect(ownerAndMode(join(shared, "stranger"))).toBe("1000:0 755");
  client.create(node, "member", 0o2755, callerContext(1000, 1001, 0));
  expect(ownerAndMode(join(shared, "member"))).toBe("1000:0 2755");
  client.mkdir(node, "dir", 0o755, alice);
  expect(ownerAndMode(join(shared, "dir"))).toBe("1000:0 2755");
});

test("ids that mean `no change` to the kernel are refused", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const none = callerContext(0xffff_ffff, 1000);
  expect(outcome(client.backend.mkdir(none, root, "dir", 0o755, 0, client.entry))).toBe("EINVAL");
  expect(client.list(root)).toEqual([]);
});

test("a write for a caller without CAP_FSETID clears the set-id bits", () => {
  using dir = new TemporaryDirectory();
  const path = join(dir.path, "file");
  writeFileSync(path, "text");
  chmodSync(path, 0o6755);
  using client = new Client(dir.path);
  const nodeid = client.walk("file");
  const fh = client.open(nodeid, O_RDWR);
  client.write(fh, "kept");
  expect(ownerAndMode(path)).toBe("0:0 6755");
  client.write(fh, "gone", 0, FUSE_WRITE_KILL_SUIDGID);
  expect(ownerAndMode(path)).toBe("0:0 755");
});

test("so do truncation, opening with O_TRUNC, and preallocation", () => {
  using dir = new TemporaryDirectory();
  const path = join(dir.path, "file");
  writeFileSync(path, "text");
  using client = new Client(dir.path);
  const nodeid = client.walk("file");
  const clears = (change: () => void) => {
    chmodSync(path, 0o6755);
    change();
    expect(ownerAndMode(path)).toBe("0:0 755");
  };
  clears(() => client.setattr(nodeid, { valid: FATTR_SIZE | FATTR_KILL_SUIDGID, size: 1 }));
  clears(() => client.open(nodeid, O_RDWR | O_TRUNC, FUSE_OPEN_KILL_SUIDGID));
  const { fh } = client.opened;
  clears(() => client.backend.fallocate(alice, nodeid, fh, 0, 0, 10));
  clears(() => client.backend.copyFileRange(alice, nodeid, fh, 0, nodeid, fh, 5, 2));
});

test("a change of owner clears the set-id bits, unless the mode is set with it", () => {
  using dir = new TemporaryDirectory();
  const path = join(dir.path, "file");
  writeFileSync(path, "text");
  chmodSync(path, 0o6755);
  using client = new Client(dir.path);
  const nodeid = client.walk("file");
  client.setattr(nodeid, { valid: FATTR_UID, uid: 1000 });
  expect(ownerAndMode(path)).toBe("1000:0 755");
  client.setattr(nodeid, { valid: FATTR_GID | FATTR_MODE, gid: 1001, mode: 0o4755 });
  expect(ownerAndMode(path)).toBe("1000:1001 4755");
});

test("a change of nothing clears set-id bits for the owner, for root, and before a write", () => {
  using dir = new TemporaryDirectory();
  const path = join(dir.path, "file");
  writeFileSync(path, "text");
  chownSync(path, 1000, 5000);
  using client = new Client(dir.path);
  const nodeid = client.walk("file");
  const afterNothing = (ctx: RequestContext, mode: number, valid = 0) => {
    chmodSync(path, mode);
    const result = client.setattr(nodeid, { valid }, undefined, ctx);
    return [result, ownerAndMode(path)];
  };
  expect(afterNothing(asRoot, 0o6755)).toEqual([0, "1000:5000 755"]);
  expect(afterNothing(alice, 0o6755, FATTR_CTIME)).toEqual([0, "1000:5000 755"]);
  // Where the group may not execute it, its members keep the bit.
  expect(afterNothing(alice, 0o6745)).toEqual([0, "1000:5000 745"]);
  expect(afterNothing(callerContext(1000, 5000), 0o6745)).toEqual([0, "1000:5000 2745"]);
  const stranger = callerContext(1002, 1002);
  expect(afterNothing(stranger, 0o6755)).toEqual(["EPERM", "1000:5000 6755"]);
  expect(afterNothing(stranger, 0o755)).toEqual([0, "1000:5000 755"]);
  client.open(nodeid, O_RDWR);
  expect(afterNothing(stranger, 0o6755)).toEqual([0, "1000:5000 755"]);
});

requireFacility("linux", "root", "program:setcap", "program:getcap").test(
  "a write, a truncation and a change of owner drop file capabilities (CVE-2021-20263)",
  () => {
    using dir = new TemporaryDirectory();
    const path = join(dir.path, "file");
    writeFileSync(path, "text");
    using client = new Client(dir.path);
    const nodeid = client.walk("file");
    const fh = client.open(nodeid, O_RDWR);
    const capabilities = () => execFileSync("/sbin/getcap", [path], { encoding: "latin1" });
    const changes = [
      () => client.write(fh, "x"),
      () => client.setattr(nodeid, { valid: FATTR_SIZE, size: 1 }),
      () => client.setattr(nodeid, { valid: FATTR_UID, uid: 1000 }),
    ];
    for (const change of changes) {
      execFileSync("/sbin/setcap", ["cap_net_raw=ep", path]);
      expect(capabilities()).toContain("cap_net_raw");
      change();
      expect(capabilities()).toBe("");
    }
    expect(outcome(client.backend.removexattr(asRoot, nodeid, "security.capability"))).toBe(
      "EOPNOTSUPP",
    );
  },
);
