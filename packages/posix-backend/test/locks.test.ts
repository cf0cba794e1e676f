import { execFile, execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { mount } from "@supermachine/fuse-mount";
import { F_RDLCK, F_UNLCK, F_WRLCK, FUSE_RELEASE_FLOCK_UNLOCK } from "@supermachine/fuse-protocol";
import { LockReply, type RequestContext } from "@supermachine/fuse-server";
import {
  openDescriptors,
  requireFacility,
  TemporaryDirectory,
} from "@supermachine-internal/testing";
import { expect } from "vitest";
import { PosixBackend } from "../src/index.js";
import { asRoot, Client, outcome } from "./client.js";

const run = promisify(execFile);
const { test } = requireFacility("linux");
const END = Number.POSITIVE_INFINITY;
const neverAborted = new AbortController().signal;

/** A client of a directory with one file, which it locks for several owners. */
class Locker implements Disposable {
  readonly #directory = new TemporaryDirectory();
  readonly path = join(this.#directory.path, "file");
  readonly #client: Client;
  readonly nodeid: number;

  constructor(options: { maxHandles?: number; readOnly?: boolean } = {}) {
    writeFileSync(this.path, "0123456789");
    this.#client = new Client(this.#directory.path, { locks: true, ...options });
    this.nodeid = this.#client.walk("file");
  }

  get backend(): PosixBackend {
    return this.#client.backend;
  }

  /** Without waiting; the outcome. */
  set(owner: number, type: number, [start, end] = [0, END]): number | string {
    const lock = { owner: BigInt(owner), start, end, type, pid: 100 + owner };
    return outcome(this.backend.setlk?.(asRoot, this.nodeid, 0, lock, false) ?? Number.NaN);
  }

  flock(owner: number, type: number): number | string {
    const lock = { owner: BigInt(owner), start: 0, end: END, type, pid: 100 + owner };
    return outcome(this.backend.flock?.(asRoot, this.nodeid, 0, lock, false) ?? Number.NaN);
  }

  /** Sets a write lock on all of the file, when that can be done. */
  async wait(kind: "setlk" | "flock", owner: number, signal = neverAborted): Promise<unknown> {
    const lock = { owner: BigInt(owner), start: 0, end: END, type: F_WRLCK, pid: 100 + owner };
    const result = this.backend[kind]?.({ ...asRoot, signal }, this.nodeid, 0, lock, true);
    return outcome((await result) ?? Number.NaN);
  }

  conflict(owner: number, type: number, [start, end]: [number, number]): LockReply {
    const reply = new LockReply();
    const lock = { owner: BigInt(owner), start, end, type, pid: 1 };
    expect(this.backend.getlk?.(asRoot, this.nodeid, 0, lock, reply)).toBe(0);
    return reply;
  }

  owned(owner: number): RequestContext {
    return { ...asRoot, lockOwner: BigInt(owner) };
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
    this.#directory[Symbol.dispose]();
  }
}

test("without the option there are no lock operations, so that the client's kernel keeps locks", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const { setlk, getlk, flock, flush } = client.backend;
  expect([setlk, getlk, flock, flush]).toEqual([undefined, undefined, undefined, undefined]);
});

test("owners share read locks and exclude each other from ranges that they write", () => {
  using locker = new Locker();
  expect(locker.set(1, F_RDLCK, [0, 9])).toBe(0);
  expect(locker.set(2, F_RDLCK, [5, END])).toBe(0);
  expect(locker.set(2, F_WRLCK, [9, 9])).toBe("EAGAIN");
  expect(locker.set(2, F_WRLCK, [10, 10])).toBe(0);
  expect(locker.set(1, F_RDLCK, [10, 20])).toBe("EAGAIN");
  expect(locker.set(2, F_UNLCK, [10, 10])).toBe(0);
  expect(locker.set(1, F_RDLCK, [10, 20])).toBe(0);
  expect(locker.set(3, F_UNLCK)).toBe(0);
});

test("a conflicting lock is told with its range, kind and process", () => {
  using locker = new Locker();
  locker.set(1, F_WRLCK, [3, 5]);
  expect(locker.conflict(2, F_RDLCK, [0, END])).toMatchObject({
    type: F_WRLCK,
    start: 3,
    end: 5,
    pid: 101,
  });
  expect(locker.conflict(2, F_WRLCK, [6, 9]).type).toBe(F_UNLCK);
  expect(locker.conflict(1, F_WRLCK, [0, END]).type).toBe(F_UNLCK);
});

test("those who wait get the lock in the order in which they came, at once when it is free", async () => {
  using locker = new Locker();
  locker.set(1, F_WRLCK);
  const order: number[] = [];
  const waits = [2, 3].map((owner) =>
    locker.wait("setlk", owner).then((result) => {
      expect(result).toBe(0);
      order.push(owner);
    }),
  );
  locker.set(1, F_UNLCK);
  await waits[0];
  expect(locker.set(1, F_RDLCK)).toBe("EAGAIN");
  await locker.backend.flush?.(locker.owned(2), locker.nodeid, 0);
  await waits[1];
  expect(order).toEqual([2, 3]);
});

test("a wait that is interrupted ends with EINTR and holds nothing", async () => {
  using locker = new Locker();
  locker.set(1, F_WRLCK);
  const controller = new AbortController();
  const waiting = [
    locker.wait("setlk", 2, controller.signal),
    locker.wait("setlk", 3, AbortSignal.abort()),
  ];
  controller.abort();
  expect(await Promise.all(waiting)).toEqual(["EINTR", "EINTR"]);
  locker.set(1, F_UNLCK);
  expect(locker.set(4, F_WRLCK)).toBe(0);
});

test("flush clears what the owner has locked by range, release what it has locked as a file", async () => {
  using locker = new Locker();
  locker.set(1, F_WRLCK);
  expect(locker.flock(1, F_WRLCK)).toBe(0);
  await locker.backend.flush?.(locker.owned(1), locker.nodeid, 0);
  expect(locker.set(2, F_WRLCK)).toBe(0);
  expect(locker.flock(2, F_RDLCK)).toBe("EAGAIN");
  locker.backend.release(locker.owned(1), locker.nodeid, 0, 0, FUSE_RELEASE_FLOCK_UNLOCK);
  expect(locker.flock(2, F_RDLCK)).toBe(0);
  expect(locker.flock(3, F_RDLCK)).toBe(0);
  expect(locker.flock(3, F_WRLCK)).toBe("EAGAIN");
});

test("the end of the session ends locks and waits, and closes what they held open", async () => {
  const before = openDescriptors();
  {
    using locker = new Locker();
    locker.set(1, F_WRLCK);
    locker.flock(1, F_WRLCK);
    const waiting = locker.wait("setlk", 2);
    locker.backend.destroy();
    expect(await waiting).toBe("EINTR");
  }
  expect(openDescriptors()).toEqual(before);
});

test("owners beyond a bound get ENOLCK, and the others go on", () => {
  using locker = new Locker({ maxHandles: 3 });
  const results = [1, 2, 3, 4].map((owner) => locker.set(owner, F_RDLCK));
  expect(results).toEqual([0, 0, 0, "ENOLCK"]);
  locker.set(1, F_UNLCK);
  expect(locker.set(4, F_RDLCK)).toBe(0);
});

requireFacility("linux", "program:flock").test(
  "the host sees the client's locks, and the client waits for the host's",
  async () => {
    using locker = new Locker();
    const hostLocks = (...args: string[]) =>
      execFileSync("flock", ["--nonblock", ...args, locker.path, "true"], { stdio: "ignore" });
    locker.flock(1, F_RDLCK);
    hostLocks("--shared");
    expect(() => hostLocks("--exclusive")).toThrow();
    locker.flock(1, F_UNLCK);
    hostLocks("--exclusive");

    // The host holds it until its input ends.
    const host = execFile("flock", [locker.path, "sh", "-c", "echo locked; cat"]);
    await new Promise((resolve) => host.stdout?.once("data", resolve));
    expect(locker.flock(1, F_WRLCK)).toBe("EAGAIN");
    const waiting = locker.wait("flock", 1);
    host.stdin?.end();
    expect(await waiting).toBe(0);
  },
);

const recordLocker = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
/* lock FILE set|wait|test, then holds it until its input ends */
int main(int argc, char **argv) {
  int fd = open(argv[1], O_RDWR);
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 3 };
  int command = !strcmp(argv[2], "set") ? F_SETLK : !strcmp(argv[2], "wait") ? F_SETLKW : F_GETLK;
  if (fcntl(fd, command, &lock) < 0) puts(strerrorname_np(errno));
  else if (command == F_GETLK) printf("%s %ld %ld\\n", lock.l_type == F_UNLCK ? "free" : "locked", (long)lock.l_start, (long)lock.l_len);
  else puts("got");
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) {}
  return 0;
}`;

requireFacility("linux", "root", "fuse", "program:cc").test(
  "record locks of a mount's processes exclude those of the host, and end with the process",
  async () => {
    using dir = new TemporaryDirectory();
    execFileSync("mkdir", [join(dir.path, "host"), join(dir.path, "mounted")]);
    const program = join(dir.path, "lock");
    execFileSync("cc", ["-o", program, "-x", "c", "-"], { input: recordLocker });
    writeFileSync(join(dir.path, "host/file"), "0123456789");
    using backend = new PosixBackend(join(dir.path, "host"), { locks: true });
    await using _ = await mount(backend, join(dir.path, "mounted"));
    const inside = join(dir.path, "mounted/file");
    const outside = join(dir.path, "host/file");
    const start = (path: string, what: string) => {
      const child = execFile(program, [path, what]);
      const said = new Promise<string>((resolve) => child.stdout?.once("data", resolve));
      return { child, said };
    };
    const say = async (path: string, what: string) =>
      (
        await run("sh", ["-c", `exec "$0" "$1" "$2" < /dev/null`, program, path, what])
      ).stdout.trim();

    const holder = start(inside, "set");
    expect((await holder.said).trim()).toBe("got");
    expect(await say(inside, "set")).toBe("EAGAIN");
    expect(await say(outside, "set")).toBe("EAGAIN");
    expect(await say(outside, "test")).toBe("locked 2 3");
    expect(await say(inside, "test")).toBe("locked 2 3");
    const waiter = start(inside, "wait");
    holder.child.kill("SIGKILL");
    expect((await waiter.said).trim()).toBe("got");
    const onHost = start(outside, "wait");
    waiter.child.stdin?.end();
    expect((await onHost.said).trim()).toBe("got");
    expect(await say(inside, "set")).toBe("EAGAIN");
    const interrupted = start(inside, "wait");
    await run("sleep", ["0.1"]);
    interrupted.child.kill("SIGTERM");
    await new Promise((resolve) => interrupted.child.once("exit", resolve));
    onHost.child.stdin?.end();
    await new Promise((resolve) => onHost.child.once("exit", resolve));
    expect(await say(inside, "set")).toBe("got");
  },
);
