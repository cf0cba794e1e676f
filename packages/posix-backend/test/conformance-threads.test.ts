import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import {
  type MountedTarget,
  mountedTarget,
  nativeTarget,
  testDifferential,
  testIntegrity,
  testSideBySide,
} from "@supermachine-internal/fs-conformance";
import { type Facility, requireFacility } from "@supermachine-internal/testing";
import { expect } from "vitest";

/** Threads of Node.js 20 run no TypeScript, so these tests need the built packages. */
function distOf(name: string): string {
  return join(import.meta.dirname, "..", "..", name, "dist", "index.js");
}
const built = ["posix-backend", "fuse-mount", "fuse-server", "fuse-protocol"].map(
  (name): Facility => `file:${distOf(name)}`,
);

const target: MountedTarget = {
  name: "a share that threads serve",
  parent: "/dev/shm",
  lacks: ["collapse", "zero-range"],
  async mount(path, host) {
    const server = join(import.meta.dirname, "threaded-server.mjs");
    const serving = spawn(process.execPath, [server, host, path], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const exited = once(serving, "exit");
    const ready = once(serving.stdout, "data");
    await Promise.race([ready, exited.then(([status]) => expect(status).toBe("still serving"))]);
    return {
      async [Symbol.asyncDispose]() {
        serving.stdin.end();
        expect(await exited).toEqual([0, null]);
      },
    };
  },
};

requireFacility("linux", "root", "fuse", "program:cc", ...built).describe("threads", () => {
  testDifferential(mountedTarget(target), nativeTarget("tmpfs", "/dev/shm"), { inputs: 20 });
  testIntegrity(mountedTarget(target), { inputs: 15 });
  testSideBySide(target, "/dev/shm");
});
