import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectStream, listenStream, Session } from "@supermachine/fuse-server";
import {
  clientTarget,
  nativeTarget,
  testDifferential,
  testPosix,
} from "@supermachine-internal/fs-conformance";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect } from "vitest";
import { PosixBackend } from "../src/index.js";

requireFacility("linux", "root", "program:cc").describe("a share over a stream", () => {
  const target = clientTarget("a share over a stream", async () => {
    const directory = new TemporaryDirectory();
    const host = join(directory.path, "host");
    mkdirSync(host, { mode: 0o755 });
    const backend = new PosixBackend(host);
    const path = join(directory.path, "socket");
    const server = await listenStream(path, () => new Session(backend));
    const client = await connectStream(path);
    return {
      client,
      async [Symbol.asyncDispose]() {
        // The client forgot what it was given and closed what it opened.
        expect([backend.inodeCount, backend.handleCount]).toEqual([1, 0]);
        await server[Symbol.asyncDispose]();
        backend.close();
        directory[Symbol.dispose]();
      },
    };
  });
  testPosix(target);
  testDifferential(target, nativeTarget("the temporary directory", tmpdir()));
});
