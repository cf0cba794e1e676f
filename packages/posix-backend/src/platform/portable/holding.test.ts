import { execFileSync } from "node:child_process";
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { errnoName, O_RDONLY, O_RDWR, O_TRUNC } from "@supermachine/fuse-protocol";
import {
  openDescriptors,
  requireFacility,
  TemporaryDirectory,
} from "@supermachine-internal/testing";
import { expect } from "vitest";
import { O_DIRECTORY, O_PATH } from "../../syscalls/constants.js";
import { statxStruct } from "../../syscalls/structs.js";
import { linuxPosixCalls } from "./linux-posix-calls.js";
import { portableCalls } from "./portable-calls.js";
import type { PosixCalls } from "./posix-calls.js";

const { test } = requireFacility("linux", "root");
const NO_PROC = -1;

function c(name: string): Buffer {
  return Buffer.from(`${name}\0`);
}

/** Calls whose `before` another program gets the chance to come between a look at a name and opening it. */
class Shared implements Disposable {
  readonly directory = new TemporaryDirectory();
  readonly calls = portableCalls({
    ...linuxPosixCalls,
    hold: (dir, name, isDirectory) => {
      this.beforeHold?.();
      this.beforeHold = undefined;
      return this.#held(linuxPosixCalls.hold(dir, name, isDirectory));
    },
    openAt: (dir, name, flags, mode) => {
      this.beforeOpen?.();
      return linuxPosixCalls.openAt(dir, name, flags, mode);
    },
  } satisfies PosixCalls);
  readonly root = this.calls.openPath(this.directory.path, O_PATH | O_DIRECTORY);
  beforeHold: (() => void) | undefined;
  beforeOpen: (() => void) | undefined;
  /** What was opened to be held, as the kernel names it. */
  readonly opened: string[] = [];

  #held(fd: number): number {
    if (fd >= 0)
      this.opened.push(
        execFileSync("readlink", [`/proc/${process.pid}/fd/${fd}`], { encoding: "utf8" }).trim(),
      );
    return fd;
  }

  path(name: string): string {
    return join(this.directory.path, name);
  }

  handle(name: string): number {
    return this.calls.openAt(this.root, c(name), O_PATH);
  }

  /** The inode number, or an errno. */
  stat(fd: number): number | string {
    const statx = new Uint8Array(statxStruct.size);
    const failure = this.calls.statx(fd, statx);
    return failure < 0 ? errnoName(failure) : Number(statxStruct.decode(statx).stx_ino);
  }

  [Symbol.dispose](): void {
    this.calls.close(this.root);
    this.directory[Symbol.dispose]();
  }
}

test("links, FIFOs, sockets and devices are never opened, and known all the same", () => {
  using shared = new Shared();
  symlinkSync("target", shared.path("link"));
  execFileSync("mkfifo", [shared.path("fifo")]);
  execFileSync("mknod", [shared.path("device"), "c", "10", "1"]);
  const handles = ["link", "fifo", "device"].map((name) => shared.handle(name));
  expect(shared.opened).toEqual([]);
  for (const handle of handles) {
    expect(shared.stat(handle)).toBeGreaterThan(0);
    expect(shared.calls.chown(handle, 5, 6)).toBe(0);
    expect(errnoName(shared.calls.reopen(NO_PROC, handle, O_RDWR))).toBe("EACCES");
  }
  const [link = -1, fifo = -1] = handles;
  expect(errnoName(shared.calls.chmodLink(NO_PROC, link, 0o600))).toBe("EOPNOTSUPP");
  expect(shared.calls.chmodLink(NO_PROC, fifo, 0o610)).toBe(0);
  const target = Buffer.alloc(10);
  expect(target.toString("latin1", 0, shared.calls.readlink(link, target))).toBe("target");
  const owner = execFileSync("stat", ["-c", "%u:%g %a", "fifo"], { cwd: shared.path("") });
  expect(owner.toString()).toBe("5:6 610\n");
});

test("what comes in the place of a name is not taken for what was there", () => {
  using shared = new Shared();
  symlinkSync("target", shared.path("link"));
  writeFileSync(shared.path("file"), "file");
  const link = shared.handle("link");
  const file = shared.handle("file");
  renameSync(shared.path("link"), shared.path("away"));
  symlinkSync("/etc/passwd", shared.path("link"));
  renameSync(shared.path("file"), shared.path("elsewhere"));
  symlinkSync("/etc/passwd", shared.path("file"));
  expect(shared.stat(link)).toBe("ESTALE");
  expect(errnoName(shared.calls.chown(link, 1, 1))).toBe("ESTALE");
  expect(errnoName(shared.calls.linkAt(NO_PROC, file, shared.root, c("new")))).toBe("ESTALE");
  for (const flags of [O_RDWR, O_RDONLY | O_TRUNC]) {
    expect(errnoName(shared.calls.reopen(NO_PROC, file, flags))).toBe("ESTALE");
  }
  // What is held can be read, however it is called; and when its name is seen again, be written.
  const reading = shared.calls.reopen(NO_PROC, file, O_RDONLY);
  expect(readFileSync(reading, "latin1")).toBe("file");
  shared.calls.close(reading);
  shared.calls.statxAt(shared.root, c("elsewhere"), new Uint8Array(statxStruct.size));
  const writing = shared.calls.reopen(NO_PROC, file, O_RDWR);
  expect(writing).toBeGreaterThan(0);
  shared.calls.close(writing);
});

test("a file that takes the inode number of a removed link is another", () => {
  using shared = new Shared();
  let inode = 0;
  let link = -1;
  const wasReused = Array.from({ length: 50 }).some((_, i) => {
    symlinkSync("target", shared.path("name"));
    link = shared.handle("name");
    inode = Number(shared.stat(link));
    unlinkSync(shared.path("name"));
    writeFileSync(shared.path("name"), `${i}`);
    const file = shared.handle("name");
    const isSame = shared.stat(file) === inode;
    expect(shared.stat(link)).toBe("ESTALE");
    shared.calls.close(link);
    shared.calls.close(file);
    unlinkSync(shared.path("name"));
    return isSame;
  });
  // Whether numbers come again depends on the file system.
  expect([true, false]).toContain(wasReused);
});

test("a name that is swapped while it is opened is looked at again", () => {
  using shared = new Shared();
  const swaps: (() => void)[] = [
    () => symlinkSync("/etc/passwd", shared.path("name")),
    () => execFileSync("mkfifo", [shared.path("name")]),
    () => mkdirSync(shared.path("name")),
  ];
  for (const swap of swaps) {
    writeFileSync(shared.path("name"), "");
    shared.beforeHold = () => {
      unlinkSync(shared.path("name"));
      swap();
    };
    const handle = shared.handle("name");
    expect(shared.stat(handle)).toBeGreaterThan(0);
    expect(shared.opened.every((path) => path.startsWith(shared.directory.path))).toBe(true);
    shared.calls.close(handle);
    execFileSync("rm", ["-r", shared.path("name")]);
  }
});

test("a file is found by another of its names when the last one that was seen is gone", () => {
  using shared = new Shared();
  writeFileSync(shared.path("first"), "");
  for (const name of ["second", "third", "fourth", "fifth", "sixth"]) {
    linkSync(shared.path("first"), shared.path(name));
  }
  const before = openDescriptors().length;
  const handles = ["first", "second", "third", "fourth", "fifth", "sixth"].map((name) =>
    shared.handle(name),
  );
  for (const gone of ["sixth", "fifth", "fourth"]) unlinkSync(shared.path(gone));
  const writing = shared.calls.reopen(NO_PROC, handles[0] ?? -1, O_RDWR);
  expect(writing).toBeGreaterThan(0);
  // The first two are too many to be remembered.
  unlinkSync(shared.path("third"));
  expect(errnoName(shared.calls.reopen(NO_PROC, handles[0] ?? -1, O_RDWR))).toBe("ESTALE");
  for (const fd of [writing, ...handles]) shared.calls.close(fd);
  expect(openDescriptors().length).toBe(before);
});

test("a file is emptied only once it is known to be the one", () => {
  using shared = new Shared();
  writeFileSync(shared.path("file"), "file");
  writeFileSync(shared.path("other"), "other");
  const file = shared.handle("file");
  shared.beforeOpen = () => {
    shared.beforeOpen = undefined;
    renameSync(shared.path("other"), shared.path("file"));
  };
  expect(errnoName(shared.calls.reopen(NO_PROC, file, O_RDWR | O_TRUNC))).toBe("ESTALE");
  expect(readFileSync(shared.path("file"), "latin1")).toBe("other");
});

test("every fd is given back, whatever the order of closing", () => {
  using shared = new Shared();
  mkdirSync(shared.path("d/e"), { recursive: true });
  symlinkSync("x", shared.path("d/link"));
  writeFileSync(shared.path("d/e/file"), "");
  const before = openDescriptors().length;
  const { calls } = shared;
  const d = shared.handle("d");
  const e = calls.openAt(d, c("e"), O_PATH);
  const link = calls.openAt(d, c("link"), O_PATH);
  const file = calls.openAt(e, c("file"), O_PATH);
  const listing = calls.reopen(NO_PROC, d, O_DIRECTORY);
  const again = calls.openAt(listing, c("link"), O_PATH);
  for (const fd of [d, e]) calls.close(fd);
  // A directory stays open for the names in it.
  expect(shared.stat(link)).toBeGreaterThan(0);
  const writing = calls.reopen(NO_PROC, file, O_RDWR);
  expect(writing).toBeGreaterThan(0);
  for (const fd of [listing, writing, file, link, again]) expect(calls.close(fd)).toBe(0);
  expect(openDescriptors().length).toBe(before);
});

test("what this process may not open is known by name", () => {
  using shared = new Shared();
  mkdirSync(shared.path("closed"));
  writeFileSync(shared.path("secret"), "");
  for (const name of ["closed", "secret"]) chmodSync(shared.path(name), 0);
  chmodSync(shared.path(""), 0o777);
  const { seteuid } = process;
  if (seteuid === undefined) throw new Error("this platform has no users");
  seteuid(65534);
  try {
    const closed = shared.handle("closed");
    const secret = shared.handle("secret");
    expect(shared.stat(closed)).toBeGreaterThan(0);
    expect(shared.stat(secret)).toBeGreaterThan(0);
    expect(errnoName(shared.calls.openAt(closed, c("x"), O_PATH))).toBe("EACCES");
    expect(errnoName(shared.calls.openAt(secret, c("x"), O_PATH))).toBe("ENOTDIR");
    expect(errnoName(shared.calls.reopen(NO_PROC, secret, O_RDONLY))).toBe("EACCES");
    expect(errnoName(shared.calls.reopen(NO_PROC, closed, O_DIRECTORY))).toBe("EACCES");
  } finally {
    seteuid(0);
  }
});

test("memory that is given back reads as zeros", () => {
  const words = new Uint32Array(new SharedArrayBuffer(256 * 1024)).fill(7);
  const { calls } = new Shared();
  calls.discardPages(0n, words.subarray(1, 1000));
  expect(words.subarray(0, 1002).indexOf(7, 1)).toBe(1000);
});
