import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import * as fuse from "@supermachine/fuse-protocol";
import { connectStream, FuseClient, RequestWriter } from "@supermachine/fuse-server";
import {
  openDescriptors,
  requireFacility,
  runs,
  TemporaryDirectory,
  until,
} from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterAll, beforeAll, expect } from "vitest";
import { type RootsServer, serveRoots } from "../src/index.js";

const { test } = requireFacility("linux");
const ROOT = fuse.FUSE_ROOT_ID;

let directory: TemporaryDirectory;
let server: RootsServer;
let warnings: string[];
let client: FuseClient;
let file: { nodeid: number; fh: number };

beforeAll(async () => {
  directory = new TemporaryDirectory();
  const dir = join(directory.path, "root");
  mkdirSync(dir);
  writeFileSync(join(directory.path, "outside"), "secret");
  warnings = [];
  server = await serveRoots({
    socketPath: join(directory.path, "roots.sock"),
    roots: { root: { dir } },
    logger: { warn: (message) => void warnings.push(message) },
  });
  client = await connectStream(server.socketPath, { root: "root" });
  const { entry, opened } = await client.create(ROOT, "file", 0o600, fuse.O_RDWR);
  await client.write(entry.nodeid, opened.fh, 0, Buffer.from("content"));
  file = { nodeid: entry.nodeid, fh: opened.fh };
});
afterAll(async () => {
  client.close();
  await server.close();
  expect(readdirSync(join(directory.path, "root"))).toEqual(["file"]);
  directory[Symbol.dispose]();
});

const bytes = (length: number) => new RequestWriter().data(new Uint8Array(length));
const named = (name: string) => new RequestWriter().name(name);
const raw = (text: string) => new RequestWriter().data(Buffer.from(text));
const { fuse_read_in: readIn, fuse_write_in: writeIn, fuse_lseek_in: lseekIn } = fuse;

function read(offset: bigint, size: number, fh = BigInt(file.fh)): RequestWriter {
  const rest = { read_flags: 0, lock_owner: 0n, flags: 0, padding: 0 };
  return new RequestWriter().struct(readIn, { fh, offset, size, ...rest });
}

function write(offset: bigint, size: number, data: Uint8Array): RequestWriter {
  const rest = { write_flags: 0, lock_owner: 0n, flags: 0, padding: 0 };
  const fields = { fh: BigInt(file.fh), offset, size, ...rest };
  return new RequestWriter().struct(writeIn, fields).data(data);
}

const cases: [what: string, code: string, opcode: number, nodeid: number, () => RequestWriter][] = [
  ["a name with a slash", "EINVAL", fuse.FUSE_LOOKUP, ROOT, () => named("a/b")],
  ["an absolute name", "EINVAL", fuse.FUSE_LOOKUP, ROOT, () => named("/etc/passwd")],
  ["..", "EINVAL", fuse.FUSE_MKDIR, ROOT, () => bytes(fuse.fuse_mkdir_in.size).name("..")],
  ["the parent of the root", "EINVAL", fuse.FUSE_UNLINK, ROOT, () => named("../outside")],
  ["an empty name", "EINVAL", fuse.FUSE_LOOKUP, ROOT, () => named("")],
  ["a name without NUL", "EINVAL", fuse.FUSE_LOOKUP, ROOT, () => raw("file")],
  ["a name of 256 bytes", "ENAMETOOLONG", fuse.FUSE_LOOKUP, ROOT, () => named("x".repeat(256))],
  ["a rename with one name", "EINVAL", fuse.FUSE_RENAME2, ROOT, () => bytes(16).name("file")],
  ["an unknown opcode", "ENOSYS", 9999, ROOT, () => bytes(0)],
  ["an unknown node", "ESTALE", fuse.FUSE_LOOKUP, 987_654, () => named("file")],
  ["node 0", "ESTALE", fuse.FUSE_LOOKUP, 0, () => named("file")],
  ["a node of 2^60", "EINVAL", fuse.FUSE_LOOKUP, 2 ** 60, () => named("file")],
  ["an unknown handle", "EBADF", fuse.FUSE_READ, ROOT, () => read(0n, 10, 987_654n)],
  ["a handle of 2^64 - 1", "EINVAL", fuse.FUSE_READ, ROOT, () => read(0n, 10, 2n ** 64n - 1n)],
  ["a read from 2^63", "EINVAL", fuse.FUSE_READ, ROOT, () => read(2n ** 63n, 10)],
  ["a write to 2^63", "EINVAL", fuse.FUSE_WRITE, ROOT, () => write(2n ** 63n, 1, Buffer.from("x"))],
  [
    "a write of more than came",
    "EINVAL",
    fuse.FUSE_WRITE,
    ROOT,
    () => write(0n, 4096, Buffer.from("x")),
  ],
  ["a read that is cut short", "EINVAL", fuse.FUSE_READ, ROOT, () => bytes(readIn.size - 8)],
  ["a create without its struct", "EINVAL", fuse.FUSE_CREATE, ROOT, () => raw("x\0")],
  [
    "a whence that is none",
    "EINVAL",
    fuse.FUSE_LSEEK,
    ROOT,
    () =>
      new RequestWriter().struct(lseekIn, {
        fh: BigInt(file.fh),
        offset: 0n,
        whence: 77,
        padding: 0,
      }),
  ],
  [
    "forgetting too much",
    "ESTALE",
    fuse.FUSE_GETATTR,
    55_555,
    () => bytes(fuse.fuse_getattr_in.size),
  ],
];

for (const [what, code, opcode, nodeid, writer] of cases) {
  test(`${what}: ${code}, and the next request is served`, async () => {
    await expect(client.request(opcode, nodeid, writer())).rejects.toMatchObject({ code });
    expect((await client.getattr(ROOT)).nlink).toBeGreaterThan(0);
    expect(warnings).toEqual([]);
  });
}

test("a read of 4 GiB gets what there is, from a bounded buffer", async () => {
  const reply = await client.request(fuse.FUSE_READ, file.nodeid, read(0n, 0xffff_ffff));
  expect(Buffer.from(reply.bytes).toString()).toBe("content");
  const list = new RequestWriter().struct(fuse.fuse_getxattr_in, { size: 0xffff_ffff, padding: 0 });
  await client.request(fuse.FUSE_LISTXATTR, file.nodeid, list).catch(() => {});
  expect(process.memoryUsage().rss).toBeLessThan(2 ** 30);
});

test("a client that forgets more than it was given loses no more than that", async () => {
  using other = await connectStream(server.socketPath, { root: "root" });
  const { nodeid } = await other.lookup(ROOT, "file");
  await other.forget(nodeid, 2 ** 40);
  await other.forget(ROOT, 2 ** 40);
  expect((await other.getattr(ROOT)).nlink).toBeGreaterThan(0);
  expect((await client.getattr(file.nodeid, file.fh)).size).toBe(7);
});

/** A connection that has greeted and nothing else. */
async function greeted(): Promise<Socket> {
  const socket = connect(server.socketPath);
  const greeting = Buffer.from("\x10\0\0\0SFMS\x01\0\0\0root", "latin1");
  socket.on("error", () => {});
  socket.write(greeting);
  await new Promise((resolve) => socket.once("data", resolve));
  return socket;
}

/** Sends a request and gives the errno of the reply. */
async function errnoOf(socket: Socket, message: Uint8Array): Promise<number> {
  socket.write(message);
  const reply = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
  return fuse.fuse_out_header.decode(reply).error;
}

test("before INIT nothing is served, and a second INIT starts over", async () => {
  const socket = await greeted();
  const lookup = named("file").finish(fuse.FUSE_LOOKUP, 2n);
  expect(await errnoOf(socket, lookup)).toBe(-fuse.EIO);
  const exchange = async (request: Uint8Array) => {
    socket.write(request);
    return await new Promise<Buffer>((resolve) => socket.once("data", resolve));
  };
  const twice = new FuseClient({ exchange });
  await twice.init();
  const { nodeid } = await twice.lookup(ROOT, "file");
  await twice.open(nodeid);
  const { openFiles } = server.usage;
  await twice.init();
  expect(server.usage.openFiles).toBe(openFiles - 1);
  await expect(twice.getattr(nodeid)).rejects.toMatchObject({ code: "ESTALE" });
  socket.destroy();
});

test("a message longer than any may be drops its client with a reason", async () => {
  const socket = await greeted();
  const header = Buffer.alloc(64);
  header.writeUInt32LE(2 ** 31);
  socket.write(header);
  await new Promise((resolve) => socket.once("close", resolve));
  expect(warnings.splice(0)).toEqual([
    expect.stringMatching(/^dropped a client of "root": a FUSE message of 2147483648 bytes/),
  ]);
});

test("no bytes on the socket end the server, leak a descriptor, or disturb its other clients", async () => {
  const before = openDescriptors().length;
  const opcodes = Object.keys(fuse.operations).map(Number);
  const message = fc
    .record({
      opcode: fc.oneof(fc.constantFrom(...opcodes), fc.nat(100)),
      nodeid: fc.oneof(fc.constant(1), fc.constant(2), fc.nat(), fc.constant(2 ** 52)),
      body: fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc.nat(200).map((n) => new Uint8Array(n)),
      ),
      /** Tells the truth about its length, mostly. */
      lie: fc.option(fc.nat(3000), { freq: 20 }),
    })
    .map(({ opcode, nodeid, body, lie }) => {
      const bytes = Buffer.from(new RequestWriter().data(body).finish(opcode, 4n, nodeid));
      if (lie !== null) bytes.writeUInt32LE(lie);
      return bytes;
    });
  await fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 20 }), fc.boolean(), async (messages, init) => {
      const socket = await greeted();
      socket.resume();
      if (init) await new FuseClient({ exchange: (m) => answered(socket, m) }).init();
      for (const bytes of messages) socket.write(bytes);
      socket.end();
      await new Promise((resolve) => socket.once("close", resolve));
    }),
    { numRuns: runs(60) },
  );
  warnings.length = 0;
  expect((await client.lookup(ROOT, "file")).nodeid).toBe(file.nodeid);
  await until(() => openDescriptors().length === before, "all descriptors to be closed");
});

async function answered(socket: Socket, message: Uint8Array): Promise<Uint8Array> {
  socket.write(message);
  return await new Promise<Buffer>((resolve) => socket.once("data", resolve));
}
