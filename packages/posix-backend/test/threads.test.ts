import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { AttrReply, EntryReply, OpenReply } from "@supermachine/fuse-server";
import {
  type Facility,
  openDescriptors,
  requireFacility,
  TemporaryDirectory,
} from "@supermachine-internal/testing";
import { expect, test } from "vitest";
import type * as api from "../src/index.js";
import { PosixBackend, SharedPosixShare } from "../src/index.js";
import { createBackend, createPracticeBackend } from "../src/thread.js";
import { asRoot, outcome, root } from "./client.js";

/** Threads of Node.js 20 run no TypeScript, so tests that start some need the built packages. */
function distOf(name: string): string {
  return join(import.meta.dirname, "..", "..", name, "dist", "index.js");
}
const built = ["posix-backend", "fuse-mount", "fuse-server", "fuse-protocol"].map(
  (name): Facility => `file:${distOf(name)}`,
);

/** The backends of two threads, both in this one. */
class TwoThreads implements Disposable {
  readonly share: SharedPosixShare;
  readonly one: PosixBackend;
  readonly other: PosixBackend;
  readonly entry = new EntryReply();
  readonly opened = new OpenReply();

  constructor(path: string) {
    this.share = new SharedPosixShare(path, { threads: 2, maxFds: 64 });
    const { memory, options } = this.share.data;
    this.one = new PosixBackend(memory, options);
    this.other = new PosixBackend(memory, options);
  }

  [Symbol.dispose](): void {
    this.one.close();
    this.other.close();
    this.share.close();
  }
}

/** How many descriptors the kernel's table has room for. */
function descriptorRoom(): number {
  const match = /^FDSize:\s*(\d+)$/m.exec(readFileSync("/proc/self/status", "latin1"));
  return Number(match?.[1]);
}

test("a share has room for its descriptors from the start, and holds none of them", () => {
  using dir = new TemporaryDirectory();
  const before = openDescriptors();
  expect(descriptorRoom()).toBeLessThan(4000);
  using share = new SharedPosixShare(dir.path, { maxFds: 4000, maxHandles: 1000 });
  expect(descriptorRoom()).toBeGreaterThanOrEqual(5000);
  expect(openDescriptors().length).toBeLessThan(before.length + 16);
  expect(share.inodeCount).toBe(1);
});

test("a backend to practise on is writable and leaves no directory", () => {
  const kept = () => readdirSync("/dev/shm").filter((name) => name.includes("practice"));
  const before = kept();
  {
    using backend = createPracticeBackend();
    expect(kept()).toHaveLength(before.length + 1);
    const entry = new EntryReply();
    expect(backend.mkdir?.(asRoot, root, "made", 0o755, 0, entry)).toBe(0);
  }
  expect(kept()).toEqual(before);
});

test("what one thread looked up and opened, another uses and closes", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "contents");
  const before = openDescriptors();
  {
    using threads = new TwoThreads(dir.path);
    const { one, other, entry, opened } = threads;
    expect(one.lookup(asRoot, root, "file", entry)).toBe(0);
    const { nodeid } = entry;
    expect(other.lookup(asRoot, root, "file", entry)).toBe(0);
    expect(entry.nodeid).toBe(nodeid);
    expect(one.open(asRoot, nodeid, 0, opened, 0)).toBe(0);
    const page = Buffer.alloc(20);
    expect(other.read(asRoot, nodeid, opened.fh, 0, [page])).toBe(8);
    void other.release(asRoot, nodeid, opened.fh);
    expect(outcome(one.read(asRoot, nodeid, opened.fh, 0, [page]) as number)).toBe("EBADF");
    other.forget(nodeid, 2);
    expect(outcome(one.getattr(asRoot, nodeid, undefined, new AttrReply()))).toBe("ESTALE");
    expect(threads.share.inodeCount).toBe(1);
  }
  expect(openDescriptors()).toEqual(before);
});

test("a file that is removed and forgotten is held by no thread", () => {
  using dir = new TemporaryDirectory();
  using threads = new TwoThreads(dir.path);
  const before = openDescriptors();
  writeFileSync(join(dir.path, "file"), "");
  threads.one.lookup(asRoot, root, "file", threads.entry);
  const { nodeid } = threads.entry;
  threads.other.getattr(asRoot, nodeid, undefined, new AttrReply());
  unlinkSync(join(dir.path, "file"));
  threads.other.forget(nodeid, 1);
  expect(openDescriptors()).toEqual(before);
});

test("a thread that ends leaves what it opened to the others", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "contents");
  using threads = new TwoThreads(dir.path);
  const { one, other, entry, opened, share } = threads;
  one.lookup(asRoot, root, "file", entry);
  one.open(asRoot, entry.nodeid, 0, opened, 0);
  one.destroy();
  one.close();
  expect(other.read(asRoot, entry.nodeid, opened.fh, 0, [Buffer.alloc(20)])).toBe(8);
  expect(other.getattr(asRoot, entry.nodeid, undefined, new AttrReply())).toBe(0);
  using next = new PosixBackend(share.data.memory, share.data.options);
  expect(next.getattr(asRoot, entry.nodeid, undefined, new AttrReply())).toBe(0);
});

test("a backend is made of the data of a share, for so many threads, and of nothing else", () => {
  using dir = new TemporaryDirectory();
  using share = new SharedPosixShare(dir.path, { threads: 1 });
  using backend = createBackend(share.data);
  expect(backend.lookup?.(asRoot, root, "absent", new EntryReply())).toBeLessThan(0);
  expect(() => createBackend(share.data)).toThrow(/1 threads serve/);
  for (const data of [undefined, null, 7, {}, { memory: new SharedArrayBuffer(4096) }]) {
    expect(() => createBackend(data)).toThrow(/SharedPosixShare/);
  }
  expect(() => new SharedPosixShare(dir.path, { threads: 32 })).toThrow(/1\.\.31/);
});

test("a listing that is read at two threads skips and repeats nothing while names come and go", () => {
  using dir = new TemporaryDirectory();
  const stays = Array.from({ length: 800 }, (_, i) => `stays-${i}`);
  for (const name of stays) writeFileSync(join(dir.path, name), "");
  using threads = new TwoThreads(dir.path);
  const { opened } = threads;
  expect(threads.one.opendir(asRoot, root, 0, opened)).toBe(0);
  const seen: string[] = [];
  let offset = 0;
  for (let turn = 0; ; turn++) {
    let room = 1 + (turn % 40);
    const before = offset;
    const add = (name: string, _ino: number, _type: number, next: number) => {
      if (room-- === 0) return false;
      if (name.startsWith("stays")) seen.push(name);
      offset = next;
      return true;
    };
    const backend = turn % 3 === 0 ? threads.other : threads.one;
    expect(backend.readdir(asRoot, root, opened.fh, offset, { add })).toBe(0);
    if (offset === before) break;
    writeFileSync(join(dir.path, `comes-${turn}`), "");
    if (turn > 5) unlinkSync(join(dir.path, `comes-${turn - 5}`));
  }
  expect(seen.sort()).toEqual(stays.sort());
});

const withThreads = requireFacility("linux", ...built);

withThreads.test(
  "threads that look up, open and forget the same nodes agree, and leave nothing",
  async () => {
    const built = (await import(pathToFileURL(distOf("posix-backend")).href)) as typeof api;
    using dir = new TemporaryDirectory();
    const names = Array.from({ length: 50 }, (_, i) => `file-${i}`);
    for (const name of names) writeFileSync(join(dir.path, name), name);
    const before = openDescriptors();
    {
      // So few fds that nodes are reopened all the time.
      using share = new built.SharedPosixShare(dir.path, { threads: 3, maxFds: 64 });
      const workers = Array.from({ length: 3 }, () => {
        const workerData = { data: share.data, names, rounds: 50 };
        const script = new URL("thread-client.mjs", import.meta.url);
        return new Worker(script, { workerData, execArgv: [] });
      });
      const ended = workers.map((worker) => once(worker, "exit"));
      const done = await Promise.all(workers.map((worker) => once(worker, "message")));
      await Promise.all(ended);
      expect(done.map(([operations]) => operations)).toEqual([15_000, 15_000, 15_000]);
      expect(share.inodeCount).toBe(1);
      expect(share.handleCount).toBe(0);
    }
    expect(openDescriptors()).toEqual(before);
  },
);

requireFacility("linux", "root", "fuse", ...built).test(
  "a mount that threads serve lists, copies and removes trees right",
  async () => {
    using dir = new TemporaryDirectory();
    using mountPoint = new TemporaryDirectory();
    const server = fileURLToPath(new URL("watching-server.mjs", import.meta.url));
    // Another process serves it: this one may use the mount as any other does.
    const serving = spawn(process.execPath, [server, dir.path, mountPoint.path], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const exited = once(serving, "exit");
    try {
      await once(serving.stdout, "data");
      const names = Array.from({ length: 600 }, (_, i) => `name-${i}`);
      mkdirSync(join(mountPoint.path, "d"));
      for (const name of names) writeFileSync(join(mountPoint.path, "d", name), name);
      expect(readdirSync(join(mountPoint.path, "d")).sort()).toEqual(names.sort());
      const script =
        'cd "$0"; for i in 1 2 3; do (cp -r d e$i; diff -r d e$i; rm -r e$i) & done; wait; rm -r d; ls';
      const { stdout, stderr } = await promisify(execFile)("bash", ["-c", script, mountPoint.path]);
      expect([stdout, stderr]).toEqual(["", ""]);
      expect(readdirSync(dir.path)).toEqual([]);
    } finally {
      serving.stdin.end();
      await exited;
    }
  },
  60_000,
);
