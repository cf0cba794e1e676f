import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectStream } from "@supermachine/fuse-server";
import {
  clientTarget,
  nativeTarget,
  testDifferential,
  testPosix,
} from "@supermachine-internal/fs-conformance";
import { type Facility, requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { afterAll, beforeAll, expect } from "vitest";

/** The server is a process of its own, and Node.js 20 runs no TypeScript: it needs the built packages. */
const built = ["posix-backend", "fuse-server", "fuse-protocol"].map(
  (name): Facility => `file:${join(import.meta.dirname, "..", "..", name, "dist", "index.js")}`,
);

requireFacility("linux", "x86-64", "root", "program:cc", ...built).describe(
  "a share whose calls are those of macOS",
  () => {
    const library = new TemporaryDirectory();
    beforeAll(() => {
      const source = join(import.meta.dirname, "libsystem.c");
      const output = join(library.path, "libSystem.B.dylib");
      const strict = ["-Wall", "-Wextra", "-Werror"];
      execFileSync("cc", ["-shared", "-fPIC", "-O1", ...strict, "-o", output, source]);
    });
    afterAll(() => library[Symbol.dispose]());

    const serve = async () => {
      const directory = new TemporaryDirectory();
      const host = join(directory.path, "host");
      mkdirSync(host, { mode: 0o755 });
      const path = join(directory.path, "socket");
      const server = join(import.meta.dirname, "darwin-server.mjs");
      const serving = spawn(process.execPath, [server, host, path], {
        stdio: ["pipe", "pipe", "inherit"],
        env: { ...process.env, LD_LIBRARY_PATH: library.path },
      });
      const exited = once(serving, "exit");
      const ready = once(serving.stdout, "data");
      await Promise.race([ready, exited.then(([status]) => expect(status).toBe("still serving"))]);
      const client = await connectStream(path);
      return {
        client,
        async [Symbol.asyncDispose]() {
          serving.stdin.end();
          expect(await exited).toEqual([0, null]);
          directory[Symbol.dispose]();
        },
      };
    };
    const { lacks, ...served } = clientTarget("a share on a kind of macOS", serve);
    const target = { ...served, lacks: [...(lacks ?? []), "zero-range" as const] };
    testPosix(target);
    testDifferential(target, nativeTarget("the temporary directory", tmpdir()), {
      inputs: 40,
      seed: 1,
    });
  },
);
