import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Facility, requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect, test } from "vitest";
import { asRoot, Client, root } from "./client.js";

/** Other processes run no TypeScript: they serve with the built packages. */
function distOf(name: string): string {
  return join(import.meta.dirname, "..", "..", name, "dist", "index.js");
}
const built = ["posix-backend", "fuse-mount"].map((name): Facility => `file:${distOf(name)}`);

const server = `
const [, host, path] = process.argv;
const { mount } = await import(${JSON.stringify(distOf("fuse-mount"))});
const { PosixBackend } = await import(${JSON.stringify(distOf("posix-backend"))});
const backend = new PosixBackend(host);
const mounted = await mount(backend, path);
console.log("mounted");
process.stdin.on("end", () => mounted.unmount({ lazy: true })).resume();
await mounted.closed;
`;

test("files of a local file system are not flushed: the client's kernel does not ask", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  expect(client.backend.flush).toBe(undefined);
});

requireFacility("linux", "root", "fuse", ...built).test(
  "files of a file system that a server keeps are flushed at each close, aside",
  async () => {
    using dir = new TemporaryDirectory();
    const host = join(dir.path, "host");
    const remote = join(dir.path, "remote");
    mkdirSync(host);
    mkdirSync(remote);
    const args = ["--input-type=module", "-e", server, host, remote];
    const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
    try {
      await once(child.stdout, "data");
      using client = new Client(remote);
      const [nodeid, fh] = client.create(root, "file");
      client.write(fh, "text");
      const flushed = client.backend.flush?.(asRoot, nodeid, fh);
      expect(flushed).toBeInstanceOf(Promise);
      expect(await flushed).toBe(0);
      client.write(fh, "TEXT");
      expect(readFileSync(join(host, "file"), "utf8")).toBe("TEXT");
      expect(client.backend.flush?.(asRoot, nodeid, 12345)).toBeLessThan(0);
    } finally {
      child.stdin.end();
      await once(child, "exit");
    }
  },
);
