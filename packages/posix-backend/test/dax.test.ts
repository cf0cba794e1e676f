import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  FUSE_ATTR_DAX,
  FUSE_HAS_INODE_DAX,
  FUSE_INIT,
  FUSE_MAP_ALIGNMENT,
  FUSE_REMOVEMAPPING,
  FUSE_SETUPMAPPING,
  FUSE_SETUPMAPPING_FLAG_READ,
  FUSE_SETUPMAPPING_FLAG_WRITE,
  fuse_in_header,
  fuse_init_in,
  fuse_out_header,
  fuse_removemapping_in,
  fuse_removemapping_one,
  fuse_setupmapping_in,
} from "@supermachine/fuse-protocol";
import { AttrReply, EntryReply, OpenReply, type Result, Session } from "@supermachine/fuse-server";
import { errnoName, FileWindow, lastErrno, lazyFunction } from "@supermachine-internal/libc";
import type { FieldsOf, FieldType, Struct } from "@supermachine-internal/struct";
import { requireFacility } from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterEach, beforeEach, expect } from "vitest";
import { DaxBackend, type DaxBackendOptions } from "../src/index.js";
import { asRoot, outcome, root } from "./client.js";

const { test } = requireFacility("linux");

const PAGE = 4096;
const RANGE = 2 << 20;
const READ = FUSE_SETUPMAPPING_FLAG_READ;
const WRITE = READ | FUSE_SETUPMAPPING_FLAG_WRITE;

let directory: string;
let resources: Disposable[];
/** A file for bytes on their way into and out of the window. */
let scratch: number;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "dax-"));
  resources = [];
  scratch = openSync(join(directory, ".scratch"), "w+");
});
afterEach(() => {
  for (const resource of resources.reverse()) resource[Symbol.dispose]();
  closeSync(scratch);
  rmSync(directory, { recursive: true });
});

const path = (name: string) => join(directory, name);

function open(options: DaxBackendOptions = {}, ranges = 4) {
  const window = new FileWindow(ranges * RANGE);
  resources.push(window);
  const backend = new DaxBackend(directory, window, options);
  resources.push(backend);
  const entry = new EntryReply();
  return {
    window,
    backend,
    entry,
    node(name: string): number {
      expect(outcome(backend.lookup(asRoot, root, name, entry))).toBe(0);
      return entry.nodeid;
    },
    map: (nodeid: number, at: number, flags = READ, offset = 0, length = RANGE) =>
      outcome(backend.setupMapping(asRoot, nodeid, undefined, offset, length, flags, at)),
    unmap: (at: number, length = RANGE) => outcome(backend.removeMapping(asRoot, at, length)),
    /** What a guest would see. */
    peek(at: number, length: number): string {
      const bytes = Buffer.alloc(length);
      const result = transfer(pwrite, window, at, length);
      if (typeof result === "string") return result;
      readSync(scratch, bytes, 0, length, 0);
      return bytes.toString("latin1");
    },
    /** Writes as a guest would. */
    poke(at: number, text: string): number | string {
      writeSync(scratch, text, 0);
      return transfer(pread, window, at, text.length);
    },
  };
}

type Transfer = (fd: number, address: bigint, length: number, offset: number) => number;
const pwrite = lazyFunction<Transfer>(
  "intptr_t pwrite(int fd, const void *buf, size_t count, int64_t offset)",
);
const pread = lazyFunction<Transfer>(
  "intptr_t pread(int fd, void *buf, size_t count, int64_t offset)",
);

/** Accesses the window in a system call, where a page that cannot be accessed is EFAULT and no signal. */
function transfer(call: Transfer, window: FileWindow, at: number, length: number): number | string {
  const result = call(scratch, window.hostAddress + BigInt(at), length, 0);
  return result === -1 ? errnoName(lastErrno()) : result;
}

/** Permissions of the window's mappings, in order. */
function protections({ hostAddress, length }: FileWindow): string[] {
  const end = hostAddress + BigInt(length);
  const found: string[] = [];
  for (const line of readFileSync("/proc/self/maps", "utf8").split("\n")) {
    const match = /^(\w+)-(\w+) (\S+)/.exec(line);
    if (match === null) continue;
    const [from, to] = [BigInt(`0x${match[1]}`), BigInt(`0x${match[2]}`)];
    if (to > hostAddress && from < end) found.push(match[3] ?? "");
  }
  return found;
}

const openFds = () => readdirSync("/proc/self/fd").length;

test("the client sees the file in its window, and a writable mapping changes it", () => {
  writeFileSync(path("file"), "hello world");
  const dax = open();
  const file = dax.node("file");
  expect(dax.peek(0, 5)).toBe("EFAULT");
  expect(dax.map(file, RANGE, WRITE)).toBe(0);
  expect(dax.peek(RANGE, 11)).toBe("hello world");
  dax.poke(RANGE, "HELLO");
  expect(readFileSync(path("file"), "utf8")).toBe("HELLO world");
  writeFileSync(path("file"), "other words", { flag: "r+" });
  expect(dax.peek(RANGE, 11)).toBe("other words");
  expect(dax.unmap(RANGE)).toBe(0);
  expect(dax.peek(RANGE, 5)).toBe("EFAULT");
});

test("a mapping for reading is read-only, and becomes writable in place", () => {
  writeFileSync(path("file"), "hello");
  const dax = open();
  const file = dax.node("file");
  expect(dax.map(file, 0)).toBe(0);
  expect(dax.poke(0, "J")).toBe("EFAULT");
  expect(dax.map(file, 0, WRITE)).toBe(0);
  expect(dax.poke(0, "J")).toBe(1);
  expect(readFileSync(path("file"), "utf8")).toBe("Jello");
  expect(dax.backend.mappingCount).toBe(1);
});

test("asking for a mapping again changes nothing, and another file takes its place", () => {
  writeFileSync(path("one"), "1");
  writeFileSync(path("two"), "2");
  const dax = open();
  const [one, two] = [dax.node("one"), dax.node("two")];
  expect(dax.map(one, 0)).toBe(0);
  const before = openFds();
  expect(dax.map(one, 0)).toBe(0);
  expect(dax.map(one, RANGE)).toBe(0);
  expect(openFds()).toBe(before); // one fd a file, however often it is mapped
  expect(dax.map(two, 0)).toBe(0);
  expect([dax.peek(0, 1), dax.peek(RANGE, 1)]).toEqual(["2", "1"]);
  expect(dax.map(two, RANGE)).toBe(0);
  expect(openFds()).toBe(before);
});

test("what cannot be mapped is refused with the errno of mmap(2) or open(2), and nothing changes", () => {
  writeFileSync(path("file"), "hello");
  symlinkSync("file", path("link"));
  const dax = open();
  const file = dax.node("file");
  expect(dax.map(file, RANGE)).toBe(0);
  const before = [protections(dax.window), openFds()];
  const link = dax.node("link");
  expect(dax.map(root, 0)).toBe("EISDIR");
  expect(dax.map(link, 0)).toBe("ENODEV");
  expect(dax.map(999_999, 0)).toBe("ESTALE");
  const refused: [at: number, offset: number, length: number][] = [
    [0, 0, 0],
    [0, 0, 1],
    [0, 0, PAGE + 1],
    [1, 0, PAGE],
    [0, 1, PAGE],
    [4 * RANGE, 0, PAGE],
    [4 * RANGE - PAGE, 0, 2 * PAGE],
    [0, 0, 5 * RANGE],
    [2 ** 52, 0, RANGE],
    [0, 0, 2 ** 52],
    [0, 2 ** 53 - PAGE, RANGE],
    // Over a part of what is mapped already.
    [RANGE, 0, PAGE],
    [RANGE - PAGE, 0, 2 * PAGE],
    [RANGE + PAGE, 0, PAGE],
  ];
  for (const [at, offset, length] of refused) {
    expect([at, offset, length, dax.map(file, at, READ, offset, length)]).toEqual([
      ...[at, offset, length],
      "EINVAL",
    ]);
  }
  for (const [at, length] of [
    [0, RANGE],
    [RANGE, PAGE],
    [RANGE + PAGE, PAGE],
    [RANGE, 0],
    [2 ** 52, RANGE],
  ] as const) {
    expect(dax.unmap(at, length)).toBe("EINVAL");
  }
  dax.backend.forget(link, 1);
  expect([protections(dax.window), openFds()]).toEqual([before[0], before[1]]);
  expect(dax.peek(RANGE, 5)).toBe("hello");
});

test("small mappings cannot use up the process's mappings", () => {
  writeFileSync(path("file"), "hello");
  const dax = open();
  const file = dax.node("file");
  const results = Array.from({ length: 6 }, (_, n) => dax.map(file, 2 * n * PAGE, READ, 0, PAGE));
  expect(results).toEqual([0, 0, 0, 0, "ENOSPC", "ENOSPC"]);
});

test("a read-only share maps for reading only", () => {
  writeFileSync(path("file"), "hello");
  const dax = open({ readOnly: true });
  const file = dax.node("file");
  expect(dax.map(file, 0, WRITE)).toBe("EROFS");
  expect(dax.map(file, 0)).toBe(0);
  expect(dax.map(file, 0, WRITE)).toBe("EROFS");
  expect([dax.peek(0, 5), protections(dax.window)[0]]).toEqual(["hello", "r--s"]);
});

test("pages that the host cuts off read as zeros once repaired, and come back when the file grows", () => {
  writeFileSync(path("file"), "a".repeat(3 * PAGE));
  const dax = open();
  const file = dax.node("file");
  expect(dax.map(file, 0, WRITE)).toBe(0);
  truncateSync(path("file"), PAGE + 10);
  expect(dax.peek(2 * PAGE, 2)).toBe("EFAULT");
  expect(dax.backend.repair()).toBe(true);
  expect(dax.backend.repair()).toBe(false);
  expect([0, PAGE, 2 * PAGE].map((at) => dax.peek(at, 2))).toEqual(["aa", "aa", "\0\0"]);

  appendFileSync(path("file"), "b".repeat(2 * PAGE));
  const reply = new AttrReply();
  expect(outcome(dax.backend.getattr(asRoot, file, undefined, reply))).toBe(0);
  expect(reply.attr.size).toBe(3 * PAGE + 10);
  expect(dax.peek(2 * PAGE, 2)).toBe("bb");
});

test("every reply that tells of a larger file finds it in the window", () => {
  const dax = open();
  writeFileSync(path("file"), "");
  const file = dax.node("file");
  const opened = new OpenReply();
  expect(outcome(dax.backend.open(asRoot, file, 2, opened, 0))).toBe(0);
  const grow: Record<string, (at: number) => Result> = {
    lookup: (at) => {
      truncateSync(path("file"), at);
      return dax.backend.lookup(asRoot, root, "file", dax.entry);
    },
    write: (at) => dax.backend.write(asRoot, file, opened.fh, at - 1, [Buffer.from("x")], 0) - 1,
    fallocate: (at) => dax.backend.fallocate(asRoot, file, opened.fh, 0, at - 1, 1),
  };
  expect(dax.map(file, 0, WRITE)).toBe(0);
  let size = 0;
  for (const [name, growTo] of Object.entries(grow)) {
    dax.backend.repair();
    size += PAGE;
    expect([name, growTo(size)]).toEqual([name, 0]);
    expect(dax.poke(size - PAGE, name)).toBe(name.length);
    expect(readFileSync(path("file"), "latin1").slice(size - PAGE, size - PAGE + name.length)).toBe(
      name,
    );
  }
});

test("nobody needs to report a truncation", async () => {
  writeFileSync(path("file"), "a".repeat(2 * PAGE));
  const dax = open();
  expect(dax.map(dax.node("file"), 0)).toBe(0);
  truncateSync(path("file"), 0);
  for (let waited = 0; dax.peek(PAGE, 2) === "EFAULT" && waited < 5000; waited += 50)
    await sleep(50);
  expect(dax.peek(PAGE, 2)).toBe("\0\0");
});

test("destroy and close release every mapping and fd", () => {
  writeFileSync(path("file"), "hello");
  const before = openFds();
  const dax = open();
  for (const end of ["destroy", "close"] as const) {
    const file = dax.node("file");
    expect([0, RANGE].map((at) => dax.map(file, at))).toEqual([0, 0]);
    dax.backend[end]();
    expect(dax.backend.mappingCount).toBe(0);
    expect(protections(dax.window)).toEqual(["---p"]);
  }
  expect(openFds()).toBe(before);
});

test("files from a given size on are marked to be mapped; directories and links never", () => {
  writeFileSync(path("small"), "x".repeat(99));
  writeFileSync(path("large"), "x".repeat(100));
  symlinkSync("x".repeat(200), path("link"));
  const dax = open({ daxMinFileSize: 100 });
  const marked = ["small", "large", "link"].filter((name) => {
    dax.node(name);
    return (dax.entry.attr.flags & FUSE_ATTR_DAX) !== 0;
  });
  expect(marked).toEqual(["large"]);
  const reply = new AttrReply();
  expect(outcome(dax.backend.getattr(asRoot, root, undefined, reply))).toBe(0);
  expect(reply.attr.flags & FUSE_ATTR_DAX).toBe(0);
});

test("mappings, truncations and growth in any order show what the files hold", () => {
  const PAGES = 8;
  const names = ["one", "two"] as const;
  const page = fc.nat(PAGES - 1);
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("map" as const),
      name: fc.constantFrom(...names),
      at: page,
      pages: fc.integer({ min: 1, max: 4 }),
      from: fc.nat(3),
      writable: fc.boolean(),
    }),
    fc.record({
      kind: fc.constant("unmap" as const),
      at: page,
      pages: fc.integer({ min: 1, max: 4 }),
    }),
    fc.record({
      kind: fc.constant("resize" as const),
      name: fc.constantFrom(...names),
      pages: fc.nat(6),
    }),
    fc.record({ kind: fc.constant("repair" as const) }),
  );
  const dax = open({}, 16);
  const fill = (name: string, pages: number) =>
    writeFileSync(
      path(name),
      Array.from({ length: pages }, (_, n) => `${name}${n}`.padEnd(PAGE, ".")).join(""),
      { flag: "r+" },
    );
  for (const name of names) writeFileSync(path(name), "");
  const nodes = new Map(names.map((name) => [name, dax.node(name)]));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      interface Range {
        name: (typeof names)[number];
        at: number;
        pages: number;
        from: number;
      }
      let ranges: Range[] = [];
      const sizes = new Map<string, number>(names.map((name) => [name, 0]));
      for (const name of names) truncateSync(path(name), 0);
      dax.backend.destroy();
      for (const name of names) nodes.set(name, dax.node(name));
      for (const one of steps) {
        if (one.kind === "map") {
          const overlaps = ranges.filter(
            ({ at, pages }) => at < one.at + one.pages && one.at < at + pages,
          );
          const same =
            overlaps.length === 1 && overlaps[0]?.at === one.at && overlaps[0].pages === one.pages;
          const expected = overlaps.length === 0 || same ? 0 : "EINVAL";
          const node = nodes.get(one.name) ?? 0;
          const [at, from, length] = [one.at, one.from, one.pages].map((n) => n * PAGE);
          expect(dax.map(node, at ?? 0, one.writable ? WRITE : READ, from, length)).toBe(expected);
          if (expected === 0) {
            ranges = ranges.filter(({ at }) => at !== one.at);
            ranges.push({ name: one.name, at: one.at, pages: one.pages, from: one.from });
          }
        } else if (one.kind === "unmap") {
          const known = ranges.some(({ at, pages }) => at === one.at && pages === one.pages);
          expect(dax.unmap(one.at * PAGE, one.pages * PAGE)).toBe(known ? 0 : "EINVAL");
          if (known) ranges = ranges.filter(({ at }) => at !== one.at);
        } else if (one.kind === "resize") {
          truncateSync(path(one.name), one.pages * PAGE);
          fill(one.name, one.pages);
          sizes.set(one.name, one.pages);
          // The client learns the new size.
          dax.node(one.name);
        } else {
          dax.backend.repair();
        }
        for (let at = 0; at < PAGES + 4; at++) {
          const range = ranges.find((r) => r.at <= at && at < r.at + r.pages);
          const seen = dax.peek(at * PAGE, 4);
          if (range === undefined) {
            expect(seen).toBe("EFAULT");
            continue;
          }
          const filePage = range.from + at - range.at;
          const exists = filePage < (sizes.get(range.name) ?? 0);
          if (exists) expect(seen).toBe(`${range.name}${filePage}`);
          else expect(["EFAULT", "\0\0\0\0"]).toContain(seen);
        }
      }
      dax.backend.repair();
      for (const { at, pages } of ranges) {
        for (let n = at; n < at + pages; n++) expect(dax.peek(n * PAGE, 4)).not.toBe("EFAULT");
      }
    }),
    { numRuns: 60 },
  );
});

function encode<F extends Record<string, FieldType>>(
  struct: Struct<F>,
  fields: FieldsOf<F>,
): Buffer {
  const bytes = Buffer.alloc(struct.size);
  struct.encode(fields, bytes);
  return bytes;
}

/** Exchanges one request with a session. */
function exchange(session: Session, opcode: number, nodeid: number, body: Uint8Array) {
  const header = encode(fuse_in_header, {
    len: fuse_in_header.size + body.length,
    opcode,
    unique: 2n,
    nodeid: BigInt(nodeid),
    uid: 0,
    gid: 0,
    pid: 1,
    total_extlen: 0,
    padding: 0,
  });
  const reply = Buffer.alloc(4096);
  let length = -1;
  session.handle([header, body], [reply], (written) => {
    length = written;
  });
  return { error: fuse_out_header.decode(reply).error, body: reply.subarray(16, length) };
}

test("a session offers DAX, and hostile 64-bit fields are refused", () => {
  writeFileSync(path("file"), "hello");
  const dax = open();
  using session = new Session(dax.backend);
  const wanted = FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX | (1n << 30n);
  const init = encode(fuse_init_in, {
    major: 7,
    minor: 36,
    max_readahead: 0,
    flags: Number(wanted & 0xffff_ffffn),
    flags2: Number(wanted >> 32n),
    unused: new Uint8Array(44),
  });
  exchange(session, FUSE_INIT, 0, init);
  expect((session.info?.flags ?? 0n) & wanted).toBe(wanted);
  const file = dax.node("file");
  const good = { fh: 2n ** 64n - 1n, foffset: 0n, len: BigInt(RANGE), flags: 1n, moffset: 0n };
  const setup = (change: Partial<typeof good>) =>
    exchange(session, FUSE_SETUPMAPPING, file, encode(fuse_setupmapping_in, { ...good, ...change }))
      .error;
  for (const value of [2n ** 63n, 2n ** 63n - 4096n, 2n ** 64n - 4096n]) {
    for (const field of ["foffset", "len", "moffset"]) {
      expect([field, value, setup({ [field]: value })]).toEqual([field, value, -22]);
    }
  }
  expect(dax.backend.mappingCount).toBe(0);
  expect(setup({})).toBe(0);
  expect(dax.peek(0, 5)).toBe("hello");

  const ranges = [RANGE, 0].map((at) =>
    encode(fuse_removemapping_one, { moffset: BigInt(at), len: BigInt(RANGE) }),
  );
  const remove = (count: number) =>
    exchange(
      session,
      FUSE_REMOVEMAPPING,
      file,
      Buffer.concat([encode(fuse_removemapping_in, { count }), ...ranges]),
    ).error;
  expect(remove(0xffff_ffff)).toBe(-22);
  expect(dax.backend.mappingCount).toBe(1);
  // The first range is not mapped, the second is removed all the same.
  expect(remove(2)).toBe(-22);
  expect(dax.backend.mappingCount).toBe(0);
});
