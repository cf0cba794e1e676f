import {
  closeSync,
  fstatSync,
  ftruncateSync,
  futimesSync,
  openSync,
  readFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import {
  errnoName,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
} from "@supermachine/fuse-protocol";
import { requireFacility, runs, TemporaryDirectory } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect } from "vitest";
import * as linux from "../linux-calls.js";
import { allocate, copyRange } from "./file-ranges.js";
import { linuxPosixCalls } from "./linux-posix-calls.js";

const { test } = requireFacility("linux");
const PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

test("files look as after fallocate(2), whatever the ranges", () => {
  using dir = new TemporaryDirectory();
  const range = fc.tuple(
    fc.constantFrom(0, FALLOC_FL_KEEP_SIZE, PUNCH, PUNCH),
    fc.oneof(fc.nat(20_000), fc.constantFrom(0, 4096, 8192)),
    fc.oneof(fc.integer({ min: 1, max: 20_000 }), fc.constantFrom(4096, 8192)),
  );
  const contents = Buffer.alloc(15_000, "contents");
  fc.assert(
    fc.property(fc.array(range, { minLength: 1, maxLength: 5 }), (ranges) => {
      const paths = ["ours", "native"].map((name) => join(dir.path, name));
      const [ours, native] = paths.map((path) => openSync(path, "w+")) as [number, number];
      for (const fd of [ours, native]) writeSync(fd, contents, 0, contents.length, 0);
      for (const [mode, offset, length] of ranges) {
        expect(allocate(linuxPosixCalls, ours, mode, offset, length)).toBe(
          linux.fallocate(native, mode, offset, length),
        );
      }
      closeSync(ours);
      closeSync(native);
      const [left, right] = paths.map((path) => readFileSync(path));
      expect(left?.equals(right ?? Buffer.alloc(0))).toBe(true);
    }),
    { numRuns: runs(200) },
  );
});

test("a hole is where it was asked for, although writes to the file go to its end", () => {
  using dir = new TemporaryDirectory();
  const path = join(dir.path, "file");
  const fd = openSync(path, "a+");
  writeSync(fd, Buffer.alloc(6000, 1));
  expect(allocate(linuxPosixCalls, fd, PUNCH, 10, 5000)).toBe(0);
  writeSync(fd, "end", 0);
  closeSync(fd);
  const contents = Buffer.alloc(6003, 1).fill(0, 10, 5010);
  contents.write("end", 6000);
  expect(readFileSync(path).equals(contents)).toBe(true);
});

test("a part of a hole stays one", () => {
  using dir = new TemporaryDirectory();
  const fd = openSync(join(dir.path, "file"), "w+");
  ftruncateSync(fd, 10_000);
  for (const [offset, length] of [
    [4096, 1],
    [4090, 12],
    [1, 9_998],
  ] as const) {
    expect(allocate(linuxPosixCalls, fd, PUNCH, offset, length)).toBe(0);
    expect(errnoName(linuxPosixCalls.lseek(fd, 0, 3))).toBe("ENXIO");
  }
  closeSync(fd);
});

test("a file counts as modified although there was nothing to make a hole of", () => {
  using dir = new TemporaryDirectory();
  const fd = openSync(join(dir.path, "file"), "w+");
  writeSync(fd, "hello");
  for (const offset of [1, 5, 100]) {
    futimesSync(fd, 1, 1);
    expect(allocate(linuxPosixCalls, fd, PUNCH, offset, 1)).toBe(0);
    expect(fstatSync(fd).mtimeMs).toBeGreaterThan(1e12);
    expect(fstatSync(fd).atimeMs).toBe(1000);
  }
  closeSync(fd);
});

test("what has no counterpart is refused", () => {
  const result = allocate(linuxPosixCalls, 0, FALLOC_FL_ZERO_RANGE, 0, 1);
  expect(errnoName(result)).toBe("EOPNOTSUPP");
});

test("a range is copied piece by piece, up to the end of the file", () => {
  using dir = new TemporaryDirectory();
  const from = openSync(join(dir.path, "from"), "w+");
  const to = openSync(join(dir.path, "to"), "w+");
  writeSync(from, "0123456789");
  expect(copyRange(linuxPosixCalls, from, 4, to, 2, 3)).toBe(3);
  expect(copyRange(linuxPosixCalls, from, 8, to, 0, 2 ** 40)).toBe(2);
  expect(copyRange(linuxPosixCalls, from, 10, to, 0, 10)).toBe(0);
  expect(readFileSync(join(dir.path, "to"), "latin1")).toBe("89456");
  ftruncateSync(from, 3 << 20);
  expect(copyRange(linuxPosixCalls, from, 0, to, 0, 3 << 20)).toBe(1 << 20);
  expect(copyRange(linuxPosixCalls, from, 0, -1, 0, 1)).toBeLessThan(0);
  closeSync(from);
  closeSync(to);
});
