import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { O_RDWR } from "@supermachine/fuse-protocol";
import {
  openDescriptors,
  requireFacility,
  TemporaryDirectory,
} from "@supermachine-internal/testing";
import { expect } from "vitest";
import { asRoot, Client, root } from "./client.js";

const { test } = requireFacility("linux");
const MIB = 1 << 20;

/** Drops a file's pages from the host's cache. */
function evict(path: string): void {
  execFileSync("dd", [`of=${path}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0"], {
    stdio: "ignore",
  });
}

test("a read of what the host has cached is answered at once, any other goes on aside", async () => {
  // Not /tmp, which may be memory.
  using dir = new TemporaryDirectory();
  const path = join(dir.path, "file");
  const content = randomBytes(4 * MIB);
  writeFileSync(path, content);
  using client = new Client(dir.path);
  const fh = client.open(client.walk("file"));
  const read = (offset: number, parts: Buffer[]) =>
    client.backend.read(asRoot, root, fh, offset, parts);

  const cached = Buffer.alloc(MIB);
  expect(read(5, [cached])).toBe(MIB);
  expect(cached.equals(content.subarray(5, 5 + MIB))).toBe(true);

  evict(path);
  const parts = [Buffer.alloc(1000), Buffer.alloc(MIB), Buffer.alloc(7)];
  const pending = read(MIB + 1, parts);
  // On a file system that does not tell, or whose pages did not go, it is a number.
  expect(await pending).toBe(1000 + MIB + 7);
  expect(Buffer.concat(parts).equals(content.subarray(MIB + 1, 2 * MIB + 1008))).toBe(true);
  if (execFileSync("stat", ["-f", "-c", "%T", path], { encoding: "latin1" }).startsWith("ext")) {
    expect(pending).toBeInstanceOf(Promise);
  }
});

test("a read beyond the end is answered at once", () => {
  using dir = new TemporaryDirectory();
  writeFileSync(join(dir.path, "file"), "text");
  using client = new Client(dir.path);
  const fh = client.open(client.walk("file"));
  const buffer = Buffer.alloc(4096);
  const read = (offset: number) => client.backend.read(asRoot, root, fh, offset, [buffer]);
  expect([read(0), read(2), read(4), read(2 ** 52)]).toEqual([4, 2, 0, 0]);
});

test("slow calls are done aside and hold the file open that the client releases", async () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const { backend } = client;
  const [nodeid, fh] = client.create(root, "file", 0o644, asRoot, O_RDWR);
  client.write(fh, "x".repeat(MIB));
  const [otherNode, other] = client.create(root, "other", 0o644, asRoot, O_RDWR);
  const before = openDescriptors().length;
  const pending = [
    backend.fsync(asRoot, nodeid, fh, false),
    backend.fsync(asRoot, nodeid, fh, true),
    backend.fallocate(asRoot, nodeid, fh, 0, 0, 20 * MIB),
    backend.copyFileRange(asRoot, nodeid, fh, 0, otherNode, other, 0, MIB),
    backend.syncfs(asRoot, root),
  ];
  expect(pending.every((result) => result instanceof Promise)).toBe(true);
  backend.release(asRoot, nodeid, fh);
  backend.release(asRoot, otherNode, other);
  expect(backend.fsync(asRoot, nodeid, fh, false)).toBeLessThan(0);
  expect(await Promise.all(pending)).toEqual([0, 0, 0, MIB, 0]);
  expect(openDescriptors().length).toBe(before - 2);
});

test("closing the backend waits for no slow call, and leaves no file open after it", async () => {
  using dir = new TemporaryDirectory();
  const before = openDescriptors();
  const client = new Client(dir.path);
  const [nodeid, fh] = client.create(root, "file", 0o644, asRoot, O_RDWR);
  client.write(fh, "text");
  const pending = client.backend.fsync(asRoot, nodeid, fh, false);
  client[Symbol.dispose]();
  expect(await pending).toBe(0);
  expect(openDescriptors()).toEqual(before);
});
