import { execFileSync, spawnSync } from "node:child_process";
import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PosixBackendOptions } from "../src/index.js";
import { isPortable } from "../src/platform/host.js";
import { asRoot, Client, outcome, root } from "./client.js";
import { mounting } from "./mounting.js";

/** So few fds that every second use of a node finds it without one. */
const modes: [string, PosixBackendOptions][] = [
  ["by fd while those last, then by name", { maxFds: 16, inodeFileHandles: "never" }],
];
if (!isPortable) modes.push(["by file handle", { maxFds: 16, inodeFileHandles: "mandatory" }]);

const { describe: describeHandles } = requireFacility("linux", "root");

for (const [kept, options] of modes) {
  const suite = options.inodeFileHandles === "mandatory" ? describeHandles : describe;
  suite(`nodes that are kept ${kept}`, () => {
    test("are the same inodes when their fds were given to others", () => {
      using dir = new TemporaryDirectory();
      using client = new Client(dir.path, options);
      const nodes = new Map<string, number>();
      for (let d = 0; d < 10; d++) {
        const parent = client.mkdir(root, `d${d}`);
        for (let f = 0; f < 20; f++) {
          const [nodeid, fh] = client.create(parent, `f${f}`);
          client.write(fh, `d${d}/f${f}`);
          void client.backend.release(asRoot, nodeid, fh);
          nodes.set(`d${d}/f${f}`, nodeid);
        }
      }
      for (const [path, nodeid] of nodes) {
        expect(client.attr(nodeid).ino).toBe(statSync(join(dir.path, path)).ino);
        expect(client.walk(path)).toBe(nodeid);
        const fh = client.open(nodeid);
        expect(client.read(fh)).toBe(path);
        void client.backend.release(asRoot, nodeid, fh);
      }
      expect(client.backend.inodeCount).toBe(1 + 10 + 200);
    });

    test("have long names, follow renames, and share hard links", () => {
      using dir = new TemporaryDirectory();
      using client = new Client(dir.path, options);
      const long = Array.from({ length: 60 }, (_, i) => `${i}-`.padEnd(255, "x"));
      const nodes = long.map((name) => {
        writeFileSync(join(dir.path, name), name);
        return client.walk(name);
      });
      const directory = client.mkdir(root, "directory");
      for (const [i, name] of long.entries()) {
        const { backend } = client;
        const to = `${i}`.padStart(200, "y");
        expect(backend.rename(asRoot, root, name, directory, to, 0)).toBe(0);
      }
      for (const [i, nodeid] of nodes.entries()) {
        expect(client.read(client.open(nodeid))).toBe(long[i]);
        const result = client.backend.link(asRoot, nodeid, root, `link${i}`, client.entry);
        expect([outcome(result), client.entry.nodeid]).toEqual([0, nodeid]);
      }
      for (let i = 0; i < nodes.length; i++) {
        expect(client.backend.unlink(asRoot, directory, `${i}`.padStart(200, "y"))).toBe(0);
      }
      for (const nodeid of nodes) expect(client.attr(nodeid).nlink).toBe(1);
    });

    test("are told from later files that get their inode numbers", () => {
      using dir = new TemporaryDirectory();
      using client = new Client(dir.path, options);
      const fillers = Array.from({ length: 100 }, (_, i) => `filler${i}`);
      for (const name of fillers) writeFileSync(join(dir.path, name), "");
      const seen = new Map<number, number>();
      for (let i = 0; i < 40; i++) {
        writeFileSync(join(dir.path, "file"), "");
        const nodeid = client.walk("file");
        // The fd of the node, which would hold its inode number, goes to others.
        for (const name of fillers) client.walk(name);
        expect(seen.has(nodeid)).toBe(false);
        seen.set(nodeid, statSync(join(dir.path, "file")).ino);
        unlinkSync(join(dir.path, "file"));
      }
      const last = Math.max(...seen.keys());
      for (const nodeid of seen.keys()) {
        const result = client.tryOpen(nodeid);
        // One that is still held answers for its own inode, removed as it is; the others are gone.
        if (result === "ESTALE") continue;
        expect(client.attr(nodeid).ino, `${nodeid} of ${last}`).toBe(seen.get(nodeid));
      }
    });

    test("stay usable through an open file when the name is gone", () => {
      using dir = new TemporaryDirectory();
      using client = new Client(dir.path, options);
      const [nodeid, fh] = client.create(root, "file");
      client.write(fh, "contents");
      unlinkSync(join(dir.path, "file"));
      for (let i = 0; i < 100; i++) {
        writeFileSync(join(dir.path, `${i}`), "");
        client.walk(`${i}`);
      }
      expect(client.attr(nodeid)).toMatchObject({ nlink: 0, size: 8 });
      expect(client.read(client.open(nodeid))).toBe("contents");
    });

    test("do not hold more fds than allowed", () => {
      using dir = new TemporaryDirectory();
      for (let i = 0; i < 300; i++) writeFileSync(join(dir.path, `${i}`), "");
      using client = new Client(dir.path, options);
      const before = readdirSync("/proc/self/fd").length;
      for (let i = 0; i < 300; i++) client.walk(`${i}`);
      expect(readdirSync("/proc/self/fd").length - before).toBeLessThanOrEqual(16);
    });

    test("are found when the host moves a directory above them", () => {
      using dir = new TemporaryDirectory();
      using client = new Client(dir.path, options);
      mkdirSync(join(dir.path, "a/b/c/d"), { recursive: true });
      const names = Array.from({ length: 50 }, (_, i) => `a/b/c/d/file${i}`);
      for (const name of names) writeFileSync(join(dir.path, name), name);
      const nodes = names.map((name) => client.walk(name));
      renameSync(join(dir.path, "a"), join(dir.path, "z"));
      renameSync(join(dir.path, "z/b"), join(dir.path, "y"));
      for (const [i, nodeid] of nodes.entries()) {
        // By name, a directory is found where the client last saw it, so what was moved on its own is lost.
        const result = client.tryOpen(nodeid);
        if (result === "ESTALE") expect(options.inodeFileHandles).toBe("never");
        else expect(client.read(client.opened.fh)).toBe(names[i]);
      }
    });
  });
}

test("a name that leads elsewhere by now is not taken for the node that had it", () => {
  using dir = new TemporaryDirectory();
  const names = Array.from({ length: 100 }, (_, i) => `${i}`);
  for (const name of names) writeFileSync(join(dir.path, name), "old");
  using client = new Client(dir.path, { maxFds: 16, inodeFileHandles: "never" });
  const nodes = names.map((name) => client.walk(name));
  for (const name of names) {
    writeFileSync(join(dir.path, "new"), "new");
    renameSync(join(dir.path, "new"), join(dir.path, name));
  }
  for (const nodeid of nodes) {
    if (client.tryOpen(nodeid) === "ESTALE") continue;
    expect(client.read(client.opened.fh)).toBe("old");
  }
});

test("hostile forgets harm no one but their sender", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "contents");
  using client = new Client(dir.path);
  const nodeid = client.walk("file");
  const counts = [0, 1, 2 ** 32 - 1, 2 ** 53 - 1, 2 ** 64, Number.POSITIVE_INFINITY];
  for (const count of counts) {
    for (const id of [0, root, nodeid + 1, nodeid + 2 ** 24, 2 ** 24 - 1, 2 ** 53 - 1]) {
      client.backend.forget(id, count);
    }
  }
  expect(client.backend.inodeCount).toBe(2);
  client.backend.forget(nodeid, 2 ** 64);
  expect(client.backend.inodeCount).toBe(1);
  expect(outcome(client.backend.lookup(asRoot, nodeid, "x", client.entry))).toBe("ESTALE");
  expect(client.walk("file")).not.toBe(nodeid);
});

test("nodes come and go in any order, and each is known by its number as long as it is held", () => {
  using dir = new TemporaryDirectory();
  const names = Array.from({ length: 30 }, (_, i) => `${i}`);
  for (const name of names) writeFileSync(join(dir.path, name), name);
  linkSync(join(dir.path, "0"), join(dir.path, "30"));
  const inodeOf = (i: number) => statSync(join(dir.path, `${i}`)).ino;
  const steps = fc.array(fc.record({ name: fc.nat(30), lookups: fc.nat(3), forgets: fc.nat(4) }), {
    maxLength: 100,
  });
  using client = new Client(dir.path, { maxFds: 16, maxInodes: 20 });
  fc.assert(
    fc.property(steps, (list) => {
      client.backend.destroy();
      const held = new Map<number, { nodeid: number; lookups: number }>();
      for (const { name, lookups, forgets } of list) {
        const ino = inodeOf(name);
        for (let i = 0; i < lookups; i++) {
          const result = client.lookup(root, `${name}`);
          const known = held.get(ino);
          if (result === "ENFILE") {
            expect([known, held.size]).toEqual([undefined, 19]);
            continue;
          }
          if (known !== undefined) expect(client.entry.nodeid).toBe(known.nodeid);
          held.set(ino, { nodeid: client.entry.nodeid, lookups: (known?.lookups ?? 0) + 1 });
        }
        const known = held.get(ino);
        if (known === undefined) continue;
        client.backend.forget(known.nodeid, forgets);
        known.lookups -= forgets;
        if (known.lookups <= 0) held.delete(ino);
      }
      expect(client.backend.inodeCount).toBe(held.size + 1);
      for (const [ino, { nodeid }] of held) expect(client.attr(nodeid).ino).toBe(ino);
    }),
  );
});

test("an option that cannot be kept is told", () => {
  // proc(5) has no file handles.
  expect(() => new Client("/proc/self/task", { inodeFileHandles: "mandatory" })).toThrow(
    /inodeFileHandles "prefer"/,
  );
  expect(readFileSync("/proc/self/comm").length).toBeGreaterThan(0);
});

requireFacility("linux", "root", mounting).test(
  "a file system that is mounted below the root can be unmounted once its nodes are forgotten",
  () => {
    using dir = new TemporaryDirectory();
    using client = new Client(dir.path);
    const at = join(dir.path, "mounted");
    mkdirSync(at);
    const below = client.walk("mounted");
    execFileSync("mount", ["-t", "tmpfs", "none", at]);
    try {
      writeFileSync(join(at, "file"), "inside");
      const mounted = client.walk("mounted");
      expect(mounted).not.toBe(below);
      const file = client.walk("mounted/file");
      expect(client.attr(file).size).toBe(6);
      expect(spawnSync("umount", [at]).status).not.toBe(0);
      client.backend.forget(file, 1);
      client.backend.forget(mounted, 2);
      execFileSync("umount", [at]);
      expect(client.lookup(mounted, "file")).toBe("ESTALE");
      expect(client.walk("mounted")).toBe(below);
    } finally {
      spawnSync("umount", ["--lazy", at]);
    }
  },
);
