import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  EACCES,
  ENFILE,
  ENOENT,
  FUSE_GETATTR,
  FUSE_ROOT_ID,
  fuse_in_header,
} from "@supermachine/fuse-protocol";
import { until } from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  connectStream,
  FuseError,
  type ListenOptions,
  listenStream,
  MemoryFs,
  Session,
  type StreamServer,
} from "../src/index.js";
import { decodeAnswer, decodeGreeting, encodeGreeting } from "../src/stream/greeting.js";

let directory: string;
let warnings: string[];
let path: string;
let sockets = 0;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "fuse-limits-"));
});
afterAll(() => rmSync(directory, { recursive: true }));
beforeEach(() => {
  warnings = [];
  path = join(directory, `${sockets++}`);
});

const logger = { warn: (message: string) => void warnings.push(message) };

function serve(options: ListenOptions = {}): Promise<StreamServer> {
  const roots = new Map([
    ["a", new MemoryFs()],
    ["bé", new MemoryFs()],
  ]);
  const create = (root: string | undefined) => {
    const backend = root === undefined ? new MemoryFs() : roots.get(root);
    if (backend === undefined) throw new FuseError(ENOENT, "there is no such root");
    if (root === "a")
      return new Session(backend, { sharedBackend: true, maxNodes: 3, maxHandles: 2 });
    return new Session(backend, { sharedBackend: true });
  };
  return listenStream(path, create, { logger, ...options });
}

/** A client that says `bytes` and collects what it hears, until the server hangs up. */
async function raw(bytes: Uint8Array): Promise<Buffer> {
  const socket = connect(path);
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", () => {});
  socket.write(bytes);
  await new Promise((resolve) => socket.on("close", resolve));
  return Buffer.concat(chunks);
}

describe("a server of several roots", () => {
  it("gives each client the root that it names, and no other", async () => {
    await using server = await serve({ greeting: true });
    using a = await connectStream(path, { root: "a" });
    using b = await connectStream(path, { root: "bé" });
    await a.create(FUSE_ROOT_ID, "file");
    await expect(b.lookup(FUSE_ROOT_ID, "file")).rejects.toMatchObject({ errno: ENOENT });
    expect((await a.lookup(FUSE_ROOT_ID, "file")).nodeid).toBeGreaterThan(1);
    expect(server.clients).toBe(2);
  });

  it("refuses a root that it does not have, and says so to the client and the log", async () => {
    await using _server = await serve({ greeting: true });
    await expect(connectStream(path, { root: "../a" })).rejects.toMatchObject({ errno: ENOENT });
    expect(warnings).toEqual(['refused a client of "../a": there is no such root']);
  });

  it("drops a client that says nothing, and one that speaks FUSE at once", async () => {
    await using _server = await serve({ greeting: true, stallMs: 50 });
    expect(await raw(new Uint8Array())).toHaveLength(0);
    expect(warnings).toEqual(["dropped a client of the FUSE socket: it said nothing for 50 ms"]);
    const request = Buffer.alloc(fuse_in_header.size);
    request.writeUInt32LE(request.length);
    expect(decodeAnswer(await raw(request))).toBeLessThan(0);
    expect(warnings[1]).toMatch(/greets in another protocol/);
  });

  it("understands every greeting that can be said, and refuses all other bytes", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 60, unit: "grapheme" }), (name) => {
        fc.pre(!name.includes("\0") && Buffer.byteLength(name) <= 255);
        expect(decodeGreeting(encodeGreeting(name))).toBe(name);
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, proper) => {
        const greeting = proper
          ? Buffer.concat([encodeGreeting("x").subarray(0, 12), bytes])
          : Buffer.from(bytes);
        try {
          expect(encodeGreeting(decodeGreeting(greeting)).subarray(4)).toEqual(
            greeting.subarray(4),
          );
        } catch (error) {
          expect(error).toMatchObject({ code: "ERR_FUSE_GREETING" });
        }
      }),
    );
    for (const name of ["", "a\0b", "x".repeat(256)]) {
      expect(() => encodeGreeting(name)).toThrow(
        expect.objectContaining({ code: "ERR_FUSE_GREETING" }),
      );
    }
  });
});

describe("a client", () => {
  it("holds no more nodes and open files than it may, and others as many as they like", async () => {
    await using _server = await serve({ greeting: true });
    using client = await connectStream(path, { root: "a" });
    const one = await client.create(FUSE_ROOT_ID, "one");
    const two = await client.create(FUSE_ROOT_ID, "two");
    await expect(client.opendir(FUSE_ROOT_ID)).rejects.toMatchObject({ errno: ENFILE });
    await client.release(one.entry.nodeid, one.opened.fh);
    const { fh } = await client.opendir(FUSE_ROOT_ID);
    await client.mkdir(FUSE_ROOT_ID, "three");
    await expect(client.lookup(FUSE_ROOT_ID, "two")).rejects.toMatchObject({ errno: ENFILE });
    await expect(client.mkdir(FUSE_ROOT_ID, "four")).rejects.toMatchObject({ errno: ENFILE });
    await expect(client.readdirplus(FUSE_ROOT_ID, fh, 0)).rejects.toMatchObject({ errno: ENFILE });
    await client.forget(two.entry.nodeid, 1);
    await client.lookup(FUSE_ROOT_ID, "one");
    using other = await connectStream(path, { root: "bé" });
    for (let i = 0; i < 10; i++) await other.create(FUSE_ROOT_ID, `${i}`);
  });

  it("that does not read its replies is read no further, and dropped with a reason", async () => {
    await using server = await serve({ maxUnsentBytes: 64 * 1024, stallMs: 300 });
    using good = await connectStream(path);
    const socket = connect(path).pause();
    await until(() => server.clients === 2, "the client to be connected");
    await flood(socket);
    await until(() => server.clients === 1, "the client to be dropped");
    expect(warnings).toEqual([
      expect.stringMatching(
        /^dropped .*: it has read nothing for 300 ms, and \d+ bytes wait for it$/,
      ),
    ]);
    expect(Number(/and (\d+) bytes/.exec(warnings[0] ?? "")?.[1])).toBeLessThan(512 * 1024);
    expect((await good.getattr(FUSE_ROOT_ID)).nlink).toBeGreaterThan(0);
    socket.destroy();
  });

  it("of too many is turned away", async () => {
    await using server = await serve({ maxClients: 1 });
    using _first = await connectStream(path);
    await expect(connectStream(path)).rejects.toThrow(/connection ended/);
    expect(warnings).toEqual([expect.stringMatching(/1 are connected/)]);
    expect(server.clients).toBe(1);
  });

  it("whose session cannot be made is refused", async () => {
    const refuse = () => {
      throw new Error("no");
    };
    await using _server = await listenStream(path, refuse, { greeting: true, logger });
    await expect(connectStream(path, { root: "a" })).rejects.toMatchObject({ errno: EACCES });
  });
});

/** Sends GETATTR requests (and no INIT) for as long as the server reads them. */
async function flood(socket: Socket): Promise<void> {
  socket.on("error", () => {});
  const request = Buffer.alloc(fuse_in_header.size + 16);
  const header = { len: request.length, opcode: FUSE_GETATTR, unique: 1n, nodeid: 1n };
  fuse_in_header.encode(
    { ...header, uid: 0, gid: 0, pid: 0, total_extlen: 0, padding: 0 },
    request,
  );
  const batch = Buffer.concat(Array.from({ length: 1000 }, () => request));
  while (socket.write(batch)) await new Promise((resolve) => setImmediate(resolve));
  for (let i = 0; i < 200 && !socket.destroyed; i++) socket.write(batch);
}
