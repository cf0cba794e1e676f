import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ENOENT, ESTALE, FUSE_ROOT_ID } from "@supermachine/fuse-protocol";
import { until } from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectStream, listenStream, MemoryFs, Session } from "../src/index.js";
import { FrameReader } from "../src/stream/frames.js";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "fuse-stream-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

describe("a stream server", () => {
  it("serves one backend to several clients", async () => {
    const path = join(directory, "shared");
    const backend = new MemoryFs();
    const shared = () => new Session(backend, { sharedBackend: true });
    await using server = await listenStream(path, shared);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    using a = await connectStream(path);
    using b = await connectStream(path);
    expect(server.clients).toBe(2);
    const { entry, opened } = await a.create(FUSE_ROOT_ID, "file");
    const data = new Uint8Array(1 << 20).map((_, i) => i * 7);
    expect(await a.write(entry.nodeid, opened.fh, 0, data)).toBe(data.length);
    const found = await b.lookup(FUSE_ROOT_ID, "file");
    const read = await b.read(found.nodeid, 0, 0, data.length);
    expect(Buffer.compare(read, data)).toBe(0);
  });

  it("gives back what one client of a shared backend held, and leaves the rest to the others", async () => {
    const path = join(directory, "held");
    const backend = new MemoryFs();
    const shared = () => new Session(backend, { sharedBackend: true });
    await using server = await listenStream(path, shared);
    const leaving = await connectStream(path);
    using staying = await connectStream(path);
    const { entry } = await leaving.create(FUSE_ROOT_ID, "a");
    const { fh } = await leaving.opendir(FUSE_ROOT_ID);
    await leaving.readdirplus(FUSE_ROOT_ID, fh, 0);
    const other = await staying.lookup(FUSE_ROOT_ID, "a");
    await staying.forget(other.nodeid, 100);
    await staying.lookup(FUSE_ROOT_ID, "a");
    await staying.unlink(FUSE_ROOT_ID, "a");
    leaving.close();
    await until(() => server.clients === 1, "the other client to be gone");
    expect((await staying.getattr(entry.nodeid)).nlink).toBe(0);
    await staying.forget(entry.nodeid, 1);
    await expect(staying.getattr(entry.nodeid)).rejects.toMatchObject({ errno: ESTALE });
    expect(backend.nodes).toBe(1);
  });

  it("answers many requests at once, each to its own asker", async () => {
    const path = join(directory, "many");
    await using _server = await listenStream(
      path,
      () =>
        new Session({
          lookup: (_ctx, _parent, name, reply) =>
            new Promise((resolve) => {
              setTimeout(() => {
                reply.nodeid = Number(name);
                resolve(0);
              }, Number(name) % 7);
            }),
        }),
    );
    using client = await connectStream(path);
    const names = Array.from({ length: 500 }, (_, i) => i + 2);
    const found = await Promise.all(names.map((name) => client.lookup(1, String(name))));
    expect(found.map((entry) => entry.nodeid)).toEqual(names);
  });

  it("drops a client that sends nonsense, says why, and goes on with the others", async () => {
    const path = join(directory, "nonsense");
    const warnings: string[] = [];
    const logger = { warn: (message: string) => void warnings.push(message) };
    await using server = await listenStream(path, () => new Session(new MemoryFs()), { logger });
    using good = await connectStream(path);
    const bad = connect(path);
    bad.write(Buffer.alloc(100, 0xff));
    await new Promise((resolve) => bad.on("close", resolve));
    expect(warnings).toEqual([expect.stringMatching(/dropped a client.*4294967295 bytes/)]);
    await until(() => server.clients === 1, "the other client to be gone");
    await expect(good.lookup(FUSE_ROOT_ID, "a")).rejects.toMatchObject({ errno: ENOENT });
  });

  it("ends the session of a client that leaves, and tells clients that it ends", async () => {
    const path = join(directory, "leaving");
    let destroyed = 0;
    const backend = {
      destroy: () => void destroyed++,
      getattr: () => new Promise<number>(() => {}),
    };
    const server = await listenStream(path, () => new Session(backend));
    const leaving = await connectStream(path);
    leaving.close();
    await until(() => destroyed === 1, "the backend to be destroyed");
    const staying = await connectStream(path);
    const waiting = staying.getattr(1);
    const refused = expect(waiting).rejects.toThrow(/connection ended/);
    await server.close();
    await refused;
    await until(() => destroyed === 2, "the second backend to be destroyed");
    expect(existsSync(path)).toBe(false);
  });

  it("takes over the socket of a dead server but not of a living one", async () => {
    const path = join(directory, "taken");
    await using _server = await listenStream(path, () => new Session({}));
    await expect(listenStream(path, () => new Session({}))).rejects.toMatchObject({
      code: "ERR_FUSE_SOCKET_IN_USE",
    });
    const file = join(directory, "file");
    writeFileSync(file, "");
    await expect(connectStream(file)).rejects.toMatchObject({ code: "ERR_FUSE_SOCKET" });
  });
});

describe("framing", () => {
  it("finds the same messages however the stream is cut", () => {
    const messages = fc.array(fc.uint8Array({ minLength: 12, maxLength: 60 }), { maxLength: 8 });
    fc.assert(
      fc.property(messages, fc.array(fc.integer({ min: 1, max: 40 })), (bodies, cuts) => {
        const sent = bodies.map((body) => {
          const frame = Buffer.alloc(4 + body.length);
          frame.writeUInt32LE(frame.length);
          frame.set(body, 4);
          return frame;
        });
        const received: Buffer[] = [];
        const reader = new FrameReader(16, 64, (frame) => received.push(frame));
        let stream = Buffer.concat(sent);
        for (const cut of cuts) {
          reader.push(stream.subarray(0, cut));
          stream = stream.subarray(cut);
        }
        reader.push(stream);
        expect(received).toEqual(sent);
        expect(reader.isPartial).toBe(false);
      }),
    );
  });

  it("holds no more than a frame of a hostile stream", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 30 })), (chunks) => {
        const reader = new FrameReader(16, 64, (frame) => {
          expect(frame.length).toBeGreaterThanOrEqual(16);
          expect(frame.length).toBeLessThanOrEqual(64);
        });
        try {
          for (const chunk of chunks) reader.push(Buffer.from(chunk));
        } catch (error) {
          expect(error).toMatchObject({ code: "ERR_FUSE_FRAME" });
        }
      }),
    );
  });
});
