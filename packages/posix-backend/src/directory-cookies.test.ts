import fc from "fast-check";
import { expect, test } from "vitest";
import { DirectoryCookies } from "./directory-cookies.js";

test("every position of 64 bits comes back from its cookie, which is below 2^53", () => {
  fc.assert(
    fc.property(fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })), (positions) => {
      const cookies = new DirectoryCookies();
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
  const cookies = new DirectoryCookies();
  expect(cookies.encode(42, 0)).toBe(42);
  expect(cookies.encode(1, 0xf_ffff)).toBe(0xf_ffff * 2 ** 32 + 1);
  expect(cookies.decode(7)).toBe(7);
});

test("the latest 65,536 large positions are remembered, and older ones refused", () => {
  const cookies = new DirectoryCookies();
  const issued = Array.from({ length: 70_000 }, (_, i) => cookies.encode(i, 0x7000_0000));
  const position = (i: number) => (0x7000_0000n << 32n) | BigInt(i);
  for (const i of [69_999, 69_998, 70_000 - 65_536]) {
    expect(cookies.decode(issued[i] ?? 0)).toBe(position(i));
  }
  expect(cookies.decode(issued[0] ?? 0)).toBeUndefined();
  expect(cookies.decode(issued[70_000 - 65_537] ?? 0)).toBeUndefined();
  expect(cookies.decode((issued[69_999] ?? 0) + 1)).toBeUndefined();
});
