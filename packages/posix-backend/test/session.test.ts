import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  EROFS,
  FUSE_DESTROY,
  FUSE_FALLOCATE,
  FUSE_INIT,
  O_RDWR,
} from "@supermachine/fuse-protocol";
import { type FuseChannel, FuseClient, FuseError, Session } from "@supermachine/fuse-server";
import { openDescriptors, runs, TemporaryDirectory } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { PosixBackend } from "../src/index.js";
import { root } from "./client.js";

/** A session in this thread; replies land in pieces, as in guest memory. */
function channelOf(session: Session): FuseChannel {
  return {
    exchange: (request, unique) =>
      new Promise((resolve) => {
        const room = new Uint8Array(unique === 0n ? 0 : 1 << 21);
        const output = [room.subarray(0, 16), room.subarray(16, 5000), room.subarray(5000)];
        session.handle([request.subarray(0, 40), request.subarray(40)], output, (length) =>
          resolve(length === 0 ? undefined : room.subarray(0, length)),
        );
      }),
  };
}

test("a client reads, writes and lists the host directory through a session", async () => {
  using dir = new TemporaryDirectory();
  using backend = new PosixBackend(dir.path);
  using session = new Session(backend);
  const client = new FuseClient(channelOf(session));
  await client.init();

  const data = Buffer.from(new Uint8Array(1 << 20).map((_, i) => (i * 31) >> 3));
  const { nodeid: sub } = await client.mkdir(root, "sub");
  const created = await client.create(sub, "data", 0o640, O_RDWR);
  expect(await client.write(created.entry.nodeid, created.opened.fh, 0, data)).toBe(data.length);
  expect(readFileSync(join(dir.path, "sub/data")).equals(data)).toBe(true);
  const { nodeid } = await client.walk("sub/data");
  expect(nodeid).toBe(created.entry.nodeid);
  const { fh } = await client.open(nodeid, O_RDWR);
  const part = await client.read(nodeid, fh, 100_000, 300_000);
  expect(data.subarray(100_000, 400_000).equals(part)).toBe(true);
  await client.setxattr(nodeid, "user.key", Buffer.from("value"));
  expect(await client.listxattr(nodeid)).toEqual(["user.key"]);
  await client.symlink(sub, "link", "data");
  expect(await client.readlink((await client.walk("sub/link")).nodeid)).toBe("data");
  await client.rename(sub, "data", root, "moved");
  expect((await client.getattr(nodeid)).size).toBe(data.length);
  expect(readFileSync(join(dir.path, "moved")).length).toBe(data.length);
});

test("pages of readdirplus give every name, each with one lookup to forget", async () => {
  using dir = new TemporaryDirectory();
  const names = Array.from({ length: 300 }, (_, i) => `file-${i}`);
  for (const name of names) writeFileSync(join(dir.path, name), name);
  using backend = new PosixBackend(dir.path);
  using session = new Session(backend);
  const client = new FuseClient(channelOf(session));
  await client.init();
  const { fh } = await client.opendir(root);
  const seen: string[] = [];
  const nodes: [number, number][] = [];
  for (let offset = 0; ; ) {
    const page = await client.readdirplus(root, fh, offset, 4096);
    if (page.length === 0) break;
    for (const record of page) {
      offset = record.offset;
      if (record.name === "." || record.name === "..") continue;
      seen.push(record.name);
      expect(record.entry?.attr.size).toBe(record.name.length);
      nodes.push([record.entry?.nodeid ?? 0, 1]);
    }
  }
  expect(seen.sort()).toEqual(names.sort());
  expect(backend.inodeCount).toBe(301);
  await client.batchForget(nodes);
  expect(backend.inodeCount).toBe(1);
});

test("a read-only share answers EROFS on the wire", async () => {
  using dir = new TemporaryDirectory();
  using backend = new PosixBackend(dir.path, { readOnly: true });
  using session = new Session(backend);
  const client = new FuseClient(channelOf(session));
  await client.init();
  const failure = await client.mkdir(root, "x").catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(FuseError);
  expect((failure as FuseError).errno).toBe(EROFS);
});

test("closing the session releases what its client held", async () => {
  using dir = new TemporaryDirectory();
  mkdirSync(join(dir.path, "sub"));
  using backend = new PosixBackend(dir.path);
  const before = openDescriptors().length;
  const session = new Session(backend);
  const client = new FuseClient(channelOf(session));
  await client.init();
  await client.create(root, "file");
  await client.opendir((await client.walk("sub")).nodeid);
  expect(openDescriptors().length).toBeGreaterThan(before);
  session.close();
  expect(openDescriptors().length).toBe(before);
  expect(backend.inodeCount).toBe(1);
});

test("no request with random arguments changes anything outside, throws, or is answered twice", async () => {
  using dir = new TemporaryDirectory();
  const outside = join(dir.path, "canary");
  writeFileSync(outside, "CANARY");
  mkdirSync(join(dir.path, "share/sub"), { recursive: true });
  writeFileSync(join(dir.path, "share/file"), "inside");
  using backend = new PosixBackend(join(dir.path, "share"), { maxInodes: 50, maxHandles: 20 });
  const warnings: string[] = [];
  using session = new Session(backend, { logger: { warn: (message) => warnings.push(message) } });
  await new FuseClient(channelOf(session)).init();

  const name = fc
    .constantFrom("file", "sub", "..", ".", "../canary", "x", "")
    .map((text) => Buffer.from(`${text}\0`));
  const argument = fc.oneof(
    {
      weight: 2,
      arbitrary: fc.nat(8).map((n) => Buffer.from(new BigUint64Array([BigInt(n)]).buffer)),
    },
    { weight: 2, arbitrary: name },
    fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
  );
  const request = fc
    .tuple(fc.nat(60), fc.nat(10), fc.array(argument, { maxLength: 10 }))
    // A second INIT or a DESTROY would end the session; a random FALLOCATE could fill the disk.
    .filter(([opcode]) => ![FUSE_INIT, FUSE_DESTROY, FUSE_FALLOCATE].includes(opcode))
    .map(([opcode, nodeid, parts]) => {
      const body = Buffer.concat(parts);
      const header = Buffer.alloc(40);
      header.writeUInt32LE(40 + body.length, 0);
      header.writeUInt32LE(opcode, 4);
      header.writeBigUInt64LE(7n, 8);
      header.writeBigUInt64LE(BigInt(nodeid), 16);
      return Buffer.concat([header, body]);
    });
  await fc.assert(
    fc.asyncProperty(fc.array(request, { maxLength: 20 }), async (requests) => {
      const answers = requests.map(() => 0);
      const everyAnswer = requests.map(
        (bytes, i) =>
          new Promise<void>((resolve) => {
            session.handle([bytes], [new Uint8Array(1 << 17)], () => {
              answers[i] = (answers[i] ?? 0) + 1;
              resolve();
            });
          }),
      );
      await Promise.all(everyAnswer);
      expect(answers).toEqual(requests.map(() => 1));
    }),
    { numRuns: runs(500) },
  );
  expect(warnings.filter((warning) => warning.includes("threw"))).toEqual([]);
  expect(readFileSync(outside, "utf8")).toBe("CANARY");
});
