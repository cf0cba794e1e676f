import {
  EBADF,
  EFBIG,
  EINVAL,
  EIO,
  ENAMETOOLONG,
  ENOENT,
  ENOSYS,
  EPROTO,
  FUSE_ATOMIC_O_TRUNC,
  FUSE_BIG_WRITES,
  FUSE_COPY_FILE_RANGE,
  FUSE_DO_READDIRPLUS,
  FUSE_FLOCK_LOCKS,
  FUSE_GETATTR,
  FUSE_HANDLE_KILLPRIV_V2,
  FUSE_INIT,
  FUSE_INIT_EXT,
  FUSE_LOOKUP,
  FUSE_MAX_PAGES,
  FUSE_OVER_IO_URING,
  FUSE_POSIX_LOCKS,
  FUSE_ROOT_ID,
  FUSE_SETXATTR_EXT,
  FUSE_WRITE,
  fuse_copy_file_range_in,
  fuse_init_in,
  fuse_out_header,
  fuse_write_in,
  operations,
  S_IFDIR,
} from "@supermachine/fuse-protocol";
import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { RequestWriter } from "../src/client/request-writer.js";
import { type FsBackend, FuseClient, FuseError, MemoryFs, Session } from "../src/index.js";
import { directChannel, split } from "./direct-channel.js";

const errno = (number: number) => expect.objectContaining({ errno: number });
const quiet = { warn: () => {} };

async function connect(backend: FsBackend, options = {}) {
  const session = new Session(backend, { logger: quiet, ...options });
  const client = new FuseClient(directChannel(session));
  await client.init();
  return { session, client };
}

describe("INIT", () => {
  const everything = 2n ** 43n - 1n;

  it("agrees on what both sides have", async () => {
    const session = new Session(new MemoryFs());
    const client = new FuseClient(directChannel(session));
    const reply = await client.init({ flags: everything, minor: 36 });
    expect(reply).toMatchObject({ major: 7, minor: 36, max_write: 1 << 20, max_pages: 256 });
    const flags = session.info?.flags ?? 0n;
    for (const flag of [FUSE_BIG_WRITES, FUSE_MAX_PAGES, FUSE_DO_READDIRPLUS]) {
      expect(flags & flag).toBe(flag);
    }
    expect(flags & FUSE_HANDLE_KILLPRIV_V2).toBe(FUSE_HANDLE_KILLPRIV_V2);
    expect(flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_OVER_IO_URING)).toBe(0n);
    expect(BigInt(reply.flags) | (BigInt(reply.flags2) << 32n)).toBe(flags);
  });

  it("asks for locks, O_TRUNC and READDIRPLUS only when the backend has them", async () => {
    const { session, client } = await connect({ setlk: () => 0, getlk: () => 0, flock: () => 0 });
    await client.init({ flags: everything });
    const flags = session.info?.flags ?? 0n;
    expect(flags & FUSE_POSIX_LOCKS).toBe(FUSE_POSIX_LOCKS);
    expect(flags & FUSE_FLOCK_LOCKS).toBe(FUSE_FLOCK_LOCKS);
    expect(flags & (FUSE_ATOMIC_O_TRUNC | FUSE_DO_READDIRPLUS)).toBe(0n);
  });

  it("limits writes to 128 KiB without MAX_PAGES", async () => {
    const client = new FuseClient(directChannel(new Session({})));
    expect((await client.init({ flags: FUSE_INIT_EXT })).max_write).toBe(128 * 1024);
  });

  it("reads the short message of a client before 7.36", async () => {
    const session = new Session({});
    const client = new FuseClient(directChannel(session));
    const whole = new Uint8Array(fuse_init_in.size);
    const fields = { major: 7, minor: 31, max_readahead: 4096, flags: 0xffff_ffff, flags2: 0 };
    fuse_init_in.encode({ ...fields, unused: new Uint8Array(44) }, whole);
    await client.request(FUSE_INIT, 0, new RequestWriter().data(whole.subarray(0, 16)));
    expect(session.info).toMatchObject({ minor: 31, maxReadahead: 4096 });
  });

  it("answers a later major version with ours and waits for another INIT", async () => {
    const session = new Session({});
    const client = new FuseClient(directChannel(session));
    const fields = { major: 8, minor: 0, max_readahead: 0, flags: 0, flags2: 0 };
    const writer = new RequestWriter();
    writer.struct(fuse_init_in, { ...fields, unused: new Uint8Array(44) });
    expect((await client.request(FUSE_INIT, 0, writer)).u32(0)).toBe(7);
    expect(session.info).toBeUndefined();
    await client.init();
    expect(session.info).toBeDefined();
  });

  it("refuses versions that are too old", async () => {
    const client = new FuseClient(directChannel(new Session({}, { logger: quiet })));
    await expect(client.init({ minor: 8 })).rejects.toEqual(errno(EPROTO));
  });

  it("comes first: anything before is refused, and after DESTROY again", async () => {
    const calls: string[] = [];
    const session = new Session({
      init: () => void calls.push("init"),
      destroy: () => void calls.push("destroy"),
      lookup: () => -ENOENT,
    });
    const client = new FuseClient(directChannel(session));
    await expect(client.lookup(FUSE_ROOT_ID, "a")).rejects.toEqual(errno(EIO));
    await client.init();
    await expect(client.lookup(FUSE_ROOT_ID, "a")).rejects.toEqual(errno(ENOENT));
    await client.destroy();
    await expect(client.lookup(FUSE_ROOT_ID, "a")).rejects.toEqual(errno(EIO));
    await client.init();
    await client.init();
    session.close();
    session.close();
    expect(calls).toEqual(["init", "destroy", "init", "destroy", "init", "destroy"]);
  });
});

describe("a backend", () => {
  it("that lacks a method answers ENOSYS, and so does an unknown opcode", async () => {
    const { client } = await connect({});
    for (const operation of operations) {
      if (operation === undefined || !operation.replies) continue;
      if (["INIT", "DESTROY"].includes(operation.name)) continue;
      const writer = new RequestWriter().data(new Uint8Array(operation.request?.size ?? 0));
      const name = operation.names > 0 ? writer.name("a") : writer;
      const request = client.request(
        operation.opcode,
        1,
        operation.names > 1 ? name.name("b") : name,
      );
      await expect(request, operation.name).rejects.toEqual(errno(ENOSYS));
    }
    await expect(client.request(7, 1)).rejects.toEqual(errno(ENOSYS));
    await expect(client.request(4096, 1)).rejects.toEqual(errno(ENOSYS));
    await expect(client.request(0xffff_ffff, 1)).rejects.toEqual(errno(ENOSYS));
  });

  it("may throw FuseError; any other throw is logged and becomes EIO", async () => {
    const warnings: unknown[][] = [];
    const logger = { warn: (...warning: unknown[]) => void warnings.push(warning) };
    const boom = new Error("boom");
    const backend: FsBackend = {
      lookup() {
        throw new FuseError(EBADF);
      },
      getattr() {
        throw boom;
      },
      open: () => Promise.reject(boom),
      unlink: () => Number.NaN,
      rmdir: () => -100_000,
    };
    const { client } = await connect(backend, { logger });
    await expect(client.lookup(1, "a")).rejects.toEqual(errno(EBADF));
    expect(warnings).toHaveLength(0);
    await expect(client.getattr(1)).rejects.toEqual(errno(EIO));
    expect(warnings[0]?.[1]).toBe(boom);
    await expect(client.open(1)).rejects.toEqual(errno(EIO));
    await expect(client.unlink(1, "a")).rejects.toEqual(errno(EIO));
    await expect(client.rmdir(1, "a")).rejects.toEqual(errno(EIO));
    expect(warnings).toHaveLength(4);
  });

  it("that answers at once is answered before handle returns", () => {
    const session = new Session({ lookup: () => -ENOENT });
    const room = new Uint8Array(200);
    const lengths: number[] = [];
    const send = (message: Uint8Array) =>
      session.handle([message], [room], (length) => lengths.push(length));
    const fields = { major: 7, minor: 38, max_readahead: 0, flags: 0, flags2: 0 };
    const init = new RequestWriter().struct(fuse_init_in, {
      ...fields,
      unused: new Uint8Array(44),
    });
    send(init.finish(FUSE_INIT, 2n));
    send(new RequestWriter().name("a").finish(FUSE_LOOKUP, 4n));
    expect(lengths).toEqual([80, 16]);
    expect(fuse_out_header.decode(room)).toEqual({ len: 16, error: -ENOENT, unique: 4n });
  });

  it("that answers later keeps its own reply objects meanwhile", async () => {
    const finish: (() => void)[] = [];
    const { client, session } = await connect({
      lookup: (_ctx, _parent, name, reply) =>
        new Promise((resolve) => {
          finish.push(() => {
            reply.nodeid = Number(name);
            reply.attr.mode = S_IFDIR;
            resolve(0);
          });
        }),
    });
    const replies = ["11", "12", "13"].map((name) => client.lookup(1, name));
    expect(session.pending).toBe(3);
    for (const step of finish.reverse()) step();
    expect((await Promise.all(replies)).map((entry) => entry.nodeid)).toEqual([11, 12, 13]);
    expect(session.pending).toBe(0);
  });

  it("forgets its client when it is told to, and takes another one", async () => {
    let destroyed = 0;
    const backend: FsBackend = Object.assign(new MemoryFs(), { destroy: () => void destroyed++ });
    const { session, client } = await connect(backend);
    session.reset();
    session.reset();
    expect([destroyed, session.info]).toEqual([1, undefined]);
    await expect(client.getattr(FUSE_ROOT_ID)).rejects.toEqual(errno(EIO));
    await client.init();
    expect(await client.getattr(FUSE_ROOT_ID)).toMatchObject({ nlink: 2 });
  });

  it("hears of each end of a client that starts over without DESTROY, and keeps no request beyond a bound", async () => {
    let destroyed = 0;
    let interrupted = 0;
    const backend: FsBackend = {
      destroy: () => void destroyed++,
      // A backend that hears its signal and goes on nevertheless.
      getattr: (ctx) => {
        ctx.signal.addEventListener("abort", () => void interrupted++);
        return new Promise<number>(() => {});
      },
    };
    const { session, client } = await connect(backend);
    const replies: number[] = [];
    const room = new Uint8Array(200);
    const fields = new Uint8Array(operations[FUSE_GETATTR]?.request?.size ?? 0);
    const request = new RequestWriter().data(fields).finish(FUSE_GETATTR, 2n, 1);
    for (let round = 1; round <= 40; round++) {
      for (let i = 0; i < 512; i++) session.handle([request], [room], (n) => void replies.push(n));
      // A guest's reset: no DESTROY, just another INIT.
      await client.init();
      expect(destroyed).toBe(round);
    }
    expect(session.pending).toBe(16_384);
    expect(interrupted).toBe(16_384);
    expect(replies).toHaveLength(40 * 512 - 16_384);
    session.close();
  });

  it("is told by its signal that a request was interrupted", async () => {
    const { client } = await connect({
      setxattr: (ctx) =>
        new Promise((resolve) => {
          ctx.signal.addEventListener("abort", () => resolve(-4));
        }),
    });
    const waiting = client.setxattr(1, "user.a", new Uint8Array(1));
    await client.interrupt(client.lastUnique + 2n);
    await client.interrupt(client.lastUnique);
    await expect(waiting).rejects.toEqual(errno(4));
  });

  it("may be interrupted through another session of its connection", async () => {
    const strays: bigint[] = [];
    const { session, client } = await connect(
      {
        setxattr: (ctx) =>
          new Promise((resolve) => {
            ctx.signal.addEventListener("abort", () => resolve(-4));
          }),
      },
      { onStrayInterrupt: (unique: bigint) => strays.push(unique) },
    );
    const waiting = client.setxattr(1, "user.a", new Uint8Array(1));
    const { lastUnique } = client;
    await client.interrupt(2n ** 40n + 7n);
    expect(strays).toEqual([2n ** 40n + 7n]);
    expect(session.interrupt(lastUnique + 2n ** 32n)).toBe(false);
    expect(session.interrupt(lastUnique)).toBe(true);
    await expect(waiting).rejects.toEqual(errno(4));
    expect(strays).toHaveLength(1);
  });

  it("reads and writes file data in the client's own buffers", async () => {
    const seen: Uint8Array[] = [];
    const session = new Session({
      read(_ctx, _nodeid, _fh, _offset, buffers) {
        seen.push(...buffers);
        for (const buffer of buffers) buffer.fill(7);
        return 8192;
      },
      write(_ctx, _nodeid, _fh, _offset, buffers) {
        seen.push(...buffers);
        return buffers.reduce((sum, buffer) => sum + buffer.length, 0);
      },
    });
    const client = new FuseClient(
      directChannel(session, { outputSizes: [16, 4096, 4096], room: 8208 }),
    );
    await client.init();
    expect(await client.read(1, 0, 0, 8192)).toEqual(new Uint8Array(8192).fill(7));
    expect(seen.map((buffer) => buffer.length)).toEqual([4096, 4096]);

    seen.length = 0;
    const data = new Uint8Array(5000);
    const fields = { fh: 0n, offset: 0n, size: 5000, write_flags: 0, lock_owner: 0n, flags: 0 };
    const writer = new RequestWriter().struct(fuse_write_in, { ...fields, padding: 0 }).data(data);
    const pieces = split(writer.finish(FUSE_WRITE, 8n), [40, 40, 904]);
    session.handle(pieces, [new Uint8Array(24)], (length) => expect(length).toBe(24));
    expect(seen).toEqual([pieces[2], pieces[3]]);
    expect(seen[0]).toBe(pieces[2]);
  });

  it("gets as much of a huge copy_file_range as the reply can count", async () => {
    const lengths: number[] = [];
    const { client } = await connect({
      copyFileRange: (_ctx, _in, _fh, _offset, _out, _fhOut, _offsetOut, length) => {
        lengths.push(length);
        return 1;
      },
    });
    const writer = new RequestWriter().struct(fuse_copy_file_range_in, {
      fh_in: 0n,
      off_in: 0n,
      nodeid_out: 1n,
      fh_out: 0n,
      off_out: 0n,
      len: 0x7fff_ffff_c000_0000n,
      flags: 0n,
    });
    await client.request(FUSE_COPY_FILE_RANGE, 1, writer);
    expect(lengths).toEqual([0xffff_f000]);
  });
});

describe("a request", () => {
  const lookup = (name: string) => new RequestWriter().name(name);

  it.each([
    ["is empty", lookup(""), EINVAL],
    ["has a slash", lookup("a/b"), EINVAL],
    ["is a dot", lookup("."), EINVAL],
    ["is dot dot", lookup(".."), EINVAL],
    ["has no end", new RequestWriter().data(Uint8Array.of(97, 98)), EINVAL],
    ["is 256 bytes long", lookup("é".repeat(128)), ENAMETOOLONG],
  ])("whose name %s never reaches the backend", async (_what, writer, expected) => {
    const { client } = await connect({
      lookup() {
        throw new Error("reached");
      },
    });
    await expect(client.request(FUSE_LOOKUP, 1, writer)).rejects.toEqual(errno(expected));
  });

  it("may have a name of 255 bytes", async () => {
    const { client } = await connect({ lookup: () => -ENOENT });
    await expect(client.lookup(1, "a".repeat(255))).rejects.toEqual(errno(ENOENT));
  });

  it("with a node id of 2^53 or more is refused", async () => {
    const { client } = await connect({ getattr: () => 0 });
    const writer = new RequestWriter().data(new Uint8Array(16));
    await expect(client.request(FUSE_GETATTR, 2 ** 53, writer)).rejects.toEqual(errno(EINVAL));
  });

  it("that claims more data than it has is refused", async () => {
    const { client } = await connect(new MemoryFs());
    const fields = { fh: 0n, offset: 0n, size: 5000, write_flags: 0, lock_owner: 0n, flags: 0 };
    const writer = new RequestWriter().struct(fuse_write_in, { ...fields, padding: 0 });
    await expect(client.request(FUSE_WRITE, 1, writer)).rejects.toEqual(errno(EINVAL));
  });

  it.each([
    [2n ** 53n, EFBIG],
    [2n ** 63n - 1n, EFBIG],
    [2n ** 63n, EINVAL],
    [2n ** 64n - 1n, EINVAL],
  ])("that writes at %d is refused as Linux does", async (offset, error) => {
    const { client } = await connect(new MemoryFs());
    const fields = { fh: 0n, offset, size: 1, write_flags: 0, lock_owner: 0n, flags: 0 };
    const writer = new RequestWriter().struct(fuse_write_in, { ...fields, padding: 0 });
    const request = client.request(FUSE_WRITE, 1, writer.data(new Uint8Array(1)));
    await expect(request).rejects.toEqual(errno(error));
  });

  const cut = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 6 });
  const opcode = fc.oneof(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0 }));
  const anyBody = fc.uint8Array({ maxLength: 300 });

  it("of arbitrary bytes gets at most one reply, of the length it states", async () => {
    const { session } = await connect(new MemoryFs());
    const property = fc.property(
      opcode,
      anyBody,
      cut,
      cut,
      fc.integer({ min: 0, max: 300 }),
      (op, body, inCut, outCut, room) => {
        const message = new RequestWriter().data(body).finish(op, 77n, 1);
        const output = new Uint8Array(room);
        const lengths: number[] = [];
        session.handle(split(message, inCut), split(output, outCut), (n) => lengths.push(n));
        expect(lengths).toHaveLength(1);
        const length = lengths[0] ?? 0;
        expect(length).toBeLessThanOrEqual(room);
        if (length === 0) return;
        const header = fuse_out_header.decode(output);
        expect(header.len).toBe(length);
        expect(header.unique).toBe(77n);
        expect(header.error).toBeLessThanOrEqual(0);
        if (header.error !== 0) expect(length).toBe(16);
      },
    );
    fc.assert(property, { numRuns: runs(3000) });
  });

  it("that is no message at all is dropped", async () => {
    const { session } = await connect(new MemoryFs());
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), cut, (bytes, sizes) => {
        let replies = 0;
        session.handle(split(bytes, sizes), [new Uint8Array(4096)], () => replies++);
        expect(replies).toBe(1);
      }),
      { numRuns: runs(2000) },
    );
  });

  it("cut short anywhere fails or answers as the whole one, but never throws", async () => {
    const { session } = await connect(new MemoryFs());
    for (const operation of operations) {
      if (operation === undefined || operation.name === "DESTROY") continue;
      const body = new Uint8Array((operation.request?.size ?? 0) + 8).fill(1);
      const whole = new RequestWriter().data(body).finish(operation.opcode, 8n, 1);
      for (let length = 0; length < whole.length; length++) {
        let replies = 0;
        const output = new Uint8Array(4096);
        session.handle([whole.subarray(0, length)], [output], () => replies++);
        expect(replies).toBe(1);
        if (length >= 40 && operation.replies)
          expect(fuse_out_header.decode(output).error).toBe(-EINVAL);
      }
    }
  });

  it("means the same however it is cut into buffers", async () => {
    await fc.assert(
      fc.asyncProperty(cut, cut, async (inputSizes, outputSizes) => {
        const session = new Session(new MemoryFs());
        const client = new FuseClient(directChannel(session, { inputSizes, outputSizes }));
        await client.init({ flags: FUSE_INIT_EXT | FUSE_SETXATTR_EXT });
        const { entry, opened } = await client.create(1, "file");
        const data = new Uint8Array(300).map((_, i) => i);
        expect(await client.write(entry.nodeid, opened.fh, 5, data)).toBe(300);
        expect(await client.read(entry.nodeid, opened.fh, 5, 1000)).toEqual(data);
        await client.setxattr(entry.nodeid, "user.x", data);
        expect(await client.getxattr(entry.nodeid, "user.x")).toEqual(data);
        expect((await client.lookup(1, "file")).nodeid).toBe(entry.nodeid);
      }),
      { numRuns: runs(50) },
    );
  });

  it("is answered alike where it lies and from a copy", () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const body = fc.uint8Array({ maxLength: 300, size: "max" });
    const messages = fc.array(fc.tuple(opcode, body, fc.integer({ min: 0, max: 3 })));
    const property = fc.property(messages, (requests) => {
      const sessions = [true, false].map((privateBuffers) => {
        const session = new Session(new MemoryFs(), { logger: quiet, privateBuffers });
        session.adopt({ minor: 38, flags: 0n, maxWrite: 4096, maxReadahead: 0, hostKernel: false });
        // The transport's buffers hold bytes of earlier messages, as those of /dev/fuse do.
        return { session, input: new Uint8Array(8192), output: new Uint8Array(8192) };
      });
      for (const [opcode, bytes, nodeid] of requests) {
        if (opcode === FUSE_INIT) continue;
        const message = new RequestWriter().data(bytes).finish(opcode, 1n, nodeid);
        const replies = sessions.map(({ session, input, output }) => {
          let reply: Uint8Array | undefined;
          input.set(message);
          session.handle([input], [output], (length) => {
            reply = output.slice(0, length);
          });
          return reply;
        });
        expect(replies[0]).toEqual(replies[1]);
      }
    });
    try {
      fc.assert(property, { numRuns: runs(500) });
    } finally {
      vi.useRealTimers();
    }
  });
});
