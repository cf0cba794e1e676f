import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DirectoryCookies } from "./directory-cookies.js";

// On /proc, which is not ext4, so that positions count as opaque.
let proc: number;
beforeAll(() => {
  proc = openSync("/proc", "r");
});
afterAll(() => closeSync(proc));

test("every position of 64 bits comes back from its cookie, which is below 2^53", () => {
  fc.assert(
    fc.property(fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })), (positions) => {
      const cookies = new DirectoryCookies(proc);
      const issued = positions.map((position) => {
        const bits = BigInt.asUintN(64, position);
        return cookies.encode(Number(bits & 0xffff_ffffn), Number(bits >> 32n));
      });
      for (const cookie of issued) expect(Number.isSafeInteger(cookie)).toBe(true);
      expect(issued.map((cookie) => BigInt(cookies.decode(cookie) ?? -1))).toEqual(positions);
    }),
  );
});

test("small positions stand for themselves", () => {
  const cookies = new DirectoryCookies(proc);
  expect(cookies.encode(42, 0)).toBe(42);
  expect(cookies.encode(1, 0xf_ffff)).toBe(0xf_ffff * 2 ** 32 + 1);
  expect(cookies.decode(7)).toBe(7);
});

test("the latest 65,536 large positions are remembered, and older ones refused", () => {
  const cookies = new DirectoryCookies(proc);
  const issued = Array.from({ length: 70_000 }, (_, i) => cookies.encode(i, 0x7000_0000));
  const position = (i: number) => (0x7000_0000n << 32n) | BigInt(i);
  for (const i of [69_999, 69_998, 70_000 - 65_536]) {
    expect(cookies.decode(issued[i] ?? 0)).toBe(position(i));
  }
  expect(cookies.decode(issued[0] ?? 0)).toBeUndefined();
  expect(cookies.decode(issued[70_000 - 65_537] ?? 0)).toBeUndefined();
  expect(cookies.decode((issued[69_999] ?? 0) + 1)).toBeUndefined();
});

/** Hashes of a directory, in order; a few of them close together. `.` comes first, the end last. */
const hashes = fc
  .tuple(
    fc.array(fc.bigInt({ min: 2n, max: 2n ** 63n - 2n ** 33n }), { maxLength: 12 }),
    // No more than a cookie can count. Of a million names, two are so close once in a thousand directories.
    fc.array(fc.bigInt({ min: 0n, max: 20_000n }), { maxLength: 8 }),
  )
  .map(([far, near]) => [0n, ...far, ...near.map((distance) => 0x1234_5678_9abc_0000n + distance)])
  .map((list) => [...new Set(list)].sort((a, b) => (a < b ? -1 : 1)));

test("in a hashed directory a reader that knows nothing continues at any cookie", () => {
  const directory = mkdtempSync(join(tmpdir(), "cookies-"));
  const fd = openSync(directory, "r");
  try {
    // Where the temporary directory is not on ext4, cookies are numbers, which another reader cannot know.
    if (!new DirectoryCookies(fd).isHashed) return;
    fc.assert(
      fc.property(hashes, (names) => {
        const cookies = new DirectoryCookies(fd);
        const ends = [...names.slice(1), 2n ** 63n - 1n];
        const halves = (position: bigint) =>
          [Number(position & 0xffff_ffffn), Number(position >> 32n)] as const;
        const issued = ends.map((position) => cookies.encode(...halves(position)));
        for (const [i, cookie] of issued.entries()) {
          const other = new DirectoryCookies(fd);
          const from = BigInt(other.decode(cookie) ?? 0);
          // What the host lists from there, without what is to be passed over.
          let next = names.findIndex((name) => name >= from);
          if (next < 0) next = names.length;
          while (other.skip-- > 0 && next < names.length) {
            if (!other.isSamePrefix(...halves(ends[next] ?? 0n))) other.skip = 0;
            next++;
          }
          expect(next).toBe(i + 1);
        }
      }),
    );
  } finally {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  }
});
