import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import {
  type MountedTarget,
  mountedTarget,
  nativeTarget,
  testDifferential,
  testIntegrity,
  testPosix,
  testSideBySide,
} from "@supermachine-internal/fs-conformance";
import { type Facility, kernelSwitch, requireFacility } from "@supermachine-internal/testing";
import { expect } from "vitest";

/** Threads of Node.js 20 run no TypeScript, so these tests need the built packages. */
function distOf(name: string): string {
  return join(import.meta.dirname, "..", "..", name, "dist", "index.js");
}
const built = ["posix-backend", "fuse-mount", "fuse-server", "fuse-protocol"].map(
  (name): Facility => `file:${distOf(name)}`,
);

/** Starts `threaded-server.mjs`; resolves once the directory is mounted. */
async function serve(...args: string[]): Promise<AsyncDisposable & { readonly pid: number }> {
  const server = join(import.meta.dirname, "threaded-server.mjs");
  const serving = spawn(process.execPath, [server, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exited = once(serving, "exit");
  const ready = once(serving.stdout, "data");
  await Promise.race([ready, exited.then(([status]) => expect(status).toBe("still serving"))]);
  return {
    pid: serving.pid ?? 0,
    async [Symbol.asyncDispose]() {
      serving.stdin.end();
      expect(await exited).toEqual([0, null]);
    },
  };
}

const facilities: Facility[] = ["linux", "root", "fuse", "program:cc", ...built];

requireFacility(...facilities).describe("threads", () => {
  const target: MountedTarget = {
    name: "a share that threads serve",
    parent: "/dev/shm",
    lacks: ["collapse", "zero-range"],
    mount: (path, host) => serve(host, path),
  };
  testDifferential(mountedTarget(target), nativeTarget("tmpfs", "/dev/shm"), { inputs: 20 });
  testIntegrity(mountedTarget(target), { inputs: 15 });
  testSideBySide(target, "/dev/shm");
});

/** Whether the kernel offers FUSE over io_uring to connections that begin. */
const PARAMETER = "/sys/module/fuse/parameters/enable_uring";

requireFacility(...facilities, `file:${PARAMETER}`).describe("threads with io_uring", () => {
  const target: MountedTarget = {
    name: "a share that threads serve through io_uring",
    parent: "/dev/shm",
    lacks: ["collapse", "zero-range"],
    async mount(path, host) {
      using _offered = await kernelSwitch(PARAMETER, "Y");
      const server = await serve(host, path, "io_uring");
      const fds = readdirSync(`/proc/${server.pid}/fd`);
      const files = fds.map((fd) => readlinkSync(`/proc/${server.pid}/fd/${fd}`));
      expect(files).toContain("anon_inode:[io_uring]");
      return server;
    },
  };
  testPosix(mountedTarget(target));
  testDifferential(mountedTarget(target), nativeTarget("tmpfs", "/dev/shm"), { inputs: 20 });
  testIntegrity(mountedTarget(target), { inputs: 15 });
});
