import {
  FOPEN_DIRECT_IO,
  FOPEN_KEEP_CACHE,
  FOPEN_PASSTHROUGH,
  FUSE_ABORT_ERROR,
  FUSE_INIT_EXT,
  FUSE_OPEN,
  FUSE_PASSTHROUGH,
  FUSE_RELEASE,
  FUSE_WRITEBACK_CACHE,
  fuse_open_out,
  fuse_out_header,
} from "@supermachine/fuse-protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RequestWriter } from "../src/client/request-writer.js";
import {
  type BackingFiles,
  createIoModes,
  type FsBackend,
  FuseClient,
  Session,
  type SessionOptions,
} from "../src/index.js";
import { directChannel } from "./direct-channel.js";

/** Gives ids as the kernel does, and knows which are in use. */
class Registry implements BackingFiles {
  readonly inUse = new Map<number, number>();
  refuse = false;
  #next = 1;

  open(fd: number): number {
    if (this.refuse) return -40;
    this.inUse.set(this.#next, fd);
    return this.#next++;
  }

  close(id: number): void {
    expect(this.inUse.delete(id)).toBe(true);
  }
}

interface Opened {
  readonly flags: number;
  readonly backingId: number;
}

/** A backend that offers fd 1000 + nodeid, and the raw requests to it. */
class Bench {
  readonly registry = new Registry();
  readonly ioModes = createIoModes();
  offers = true;
  keepCache = false;
  readonly #backend: FsBackend = {
    open: (_ctx, nodeid, _flags, reply) => {
      if (this.offers) reply.passthroughFd = 1000 + nodeid;
      if (this.keepCache) reply.flags |= FOPEN_KEEP_CACHE;
      return 0;
    },
    release: () => -9,
  };
  readonly #sessions: Session[] = [];

  async session(options: SessionOptions = {}): Promise<Session> {
    const passthrough = { backing: this.registry, ioModes: this.ioModes };
    const session = new Session(this.#backend, { passthrough, ...options });
    const [first] = this.#sessions;
    if (first?.info !== undefined) session.adopt(first.info);
    else await new FuseClient(directChannel(session)).init({ flags: 2n ** 43n - 1n });
    this.#sessions.push(session);
    return session;
  }

  #send(session: Session, opcode: number, nodeid: number): DataView {
    // Long enough for both structs.
    const message = new RequestWriter().data(new Uint8Array(24)).finish(opcode, 7n, nodeid);
    const reply = new Uint8Array(4096);
    session.handle([message], [reply], () => {});
    return new DataView(reply.buffer, fuse_out_header.size);
  }

  open(session: Session, nodeid: number): Opened {
    const view = this.#send(session, FUSE_OPEN, nodeid);
    const o = fuse_open_out.offsets;
    return {
      flags: view.getUint32(o.open_flags, true),
      backingId: view.getInt32(o.backing_id, true),
    };
  }

  release(session: Session, nodeid: number): void {
    this.#send(session, FUSE_RELEASE, nodeid);
  }
}

describe("passthrough", () => {
  it("is asked for when the transport can, and not with a writeback cache", async () => {
    const bench = new Bench();
    expect((await bench.session()).info?.flags).toSatisfy(
      (f: bigint) => (f & FUSE_PASSTHROUGH) !== 0n,
    );
    const cached = await new Bench().session({ writebackCache: true });
    expect((cached.info?.flags ?? 0n) & (FUSE_PASSTHROUGH | FUSE_WRITEBACK_CACHE)).toBe(
      FUSE_WRITEBACK_CACHE,
    );
  });

  it("is not used when the kernel does not offer it", async () => {
    const bench = new Bench();
    const passthrough = { backing: bench.registry };
    const session = new Session(
      {
        open: (_c, _n, _f, reply) => {
          reply.passthroughFd = 5;
          return 0;
        },
      },
      { passthrough },
    );
    const client = new FuseClient(directChannel(session));
    const reply = await client.init({ flags: FUSE_INIT_EXT | FUSE_ABORT_ERROR });
    expect(reply.max_stack_depth).toBe(0);
    expect(bench.open(session, 1)).toEqual({ flags: 0, backingId: 0 });
    expect(bench.registry.inUse.size).toBe(0);
  });

  it("has one backing file for a node until its last release, also of a failing backend", async () => {
    const bench = new Bench();
    const session = await bench.session();
    const first = bench.open(session, 7);
    expect(first).toEqual({ flags: FOPEN_PASSTHROUGH, backingId: 1 });
    bench.offers = false;
    expect(bench.open(session, 7)).toEqual(first);
    bench.release(session, 7);
    expect(bench.registry.inUse).toEqual(new Map([[1, 1007]]));
    bench.release(session, 7);
    expect(bench.registry.inUse.size).toBe(0);
  });

  it("stays away from a node that is open in the page cache already, and keeps no old pages", async () => {
    const bench = new Bench();
    const session = await bench.session();
    bench.registry.refuse = true;
    bench.keepCache = true;
    expect(bench.open(session, 7)).toEqual({ flags: 0, backingId: 0 });
    bench.registry.refuse = false;
    expect(bench.open(session, 7)).toEqual({ flags: 0, backingId: 0 });
    bench.release(session, 7);
    bench.release(session, 7);
    expect(bench.open(session, 7).flags & FOPEN_PASSTHROUGH).toBe(FOPEN_PASSTHROUGH);
  });

  it("is counted over all threads of a connection", async () => {
    const bench = new Bench();
    const [one, two] = [await bench.session(), await bench.session()];
    const opened = bench.open(one, 2 ** 40 + 1);
    expect(bench.open(two, 2 ** 40 + 1)).toEqual(opened);
    bench.release(two, 2 ** 40 + 1);
    expect(bench.registry.inUse.size).toBe(1);
    bench.release(two, 2 ** 40 + 1);
    expect(bench.registry.inUse.size).toBe(0);
  });

  it("keeps count of any sequence of opens and releases", async () => {
    const bench = new Bench();
    const session = await bench.session();
    // The inverse of the hash's multiplier: all of these collide, on both sides of the table's end.
    const node = fc
      .tuple(fc.integer({ min: -6, max: 6 }), fc.constantFrom(0, 1))
      .filter(([k, high]) => k !== 0 || high !== 0)
      .map(([k, high]) => (Math.imul(k, 0x0e8b_2f51) >>> 0) + high * 2 ** 32);
    const steps = fc.array(fc.tuple(node, fc.boolean()), { maxLength: 300 });
    fc.assert(
      fc.property(steps, (sequence) => {
        const model = new Map<number, { id: number; count: number }>();
        for (const [nodeid, opens] of sequence) {
          const known = model.get(nodeid);
          if (opens) {
            const { flags, backingId } = bench.open(session, nodeid);
            expect(flags & (FOPEN_PASSTHROUGH | FOPEN_DIRECT_IO)).toBe(FOPEN_PASSTHROUGH);
            if (known !== undefined) expect(backingId).toBe(known.id);
            model.set(nodeid, { id: backingId, count: (known?.count ?? 0) + 1 });
          } else {
            bench.release(session, nodeid);
            if (known !== undefined && --known.count === 0) model.delete(nodeid);
          }
          const ids = [...model.values()].map(({ id }) => id).sort((a, b) => a - b);
          expect([...bench.registry.inUse.keys()].sort((a, b) => a - b)).toEqual(ids);
        }
        for (const [nodeid, { count }] of model) {
          for (let i = 0; i < count; i++) bench.release(session, nodeid);
        }
      }),
    );
  });
});
