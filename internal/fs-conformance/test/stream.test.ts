import { join } from "node:path";
import { connectStream, listenStream, MemoryFs, Session } from "@supermachine/fuse-server";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect } from "vitest";
import { clientTarget, nativeTarget, testDifferential, testPosix } from "../src/index.js";

requireFacility("linux", "root", "program:cc").describe("MemoryFs over a stream", () => {
  const target = clientTarget("MemoryFs over a stream", async () => {
    const directory = new TemporaryDirectory();
    const backend = new MemoryFs();
    const path = join(directory.path, "socket");
    const server = await listenStream(path, () => new Session(backend));
    const client = await connectStream(path);
    return {
      client,
      async [Symbol.asyncDispose]() {
        // The root is left: the client forgot what it was given.
        expect(backend.nodes).toBe(1);
        await server[Symbol.asyncDispose]();
        directory[Symbol.dispose]();
      },
    };
  });
  testPosix(target);
  testDifferential(target, nativeTarget("tmpfs", "/dev/shm"));
});
