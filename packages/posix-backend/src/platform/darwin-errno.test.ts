import { probeHeaders, requireFacility } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { darwinErrno, linuxErrno, renumberedErrnos } from "./darwin-errno.js";

test("what a client must act on has the right number", () => {
  const numbers = [35, 45, 62, 63, 66, 78, 84, 93, 102].map(linuxErrno);
  // EAGAIN, EOPNOTSUPP, ELOOP, ENAMETOOLONG, ENOTEMPTY, ENOSYS, EOVERFLOW, ENODATA, EOPNOTSUPP
  expect(numbers).toEqual([11, 95, 40, 36, 39, 38, 75, 61, 95]);
  expect([71, 68, 95, 97, 98, 99, 100, 101].map(linuxErrno)).toEqual([
    66, 87, 72, 67, 63, 60, 71, 62,
  ]);
});

test("each number is listed once, and comes back from the other side", () => {
  const darwin = renumberedErrnos.map(([, number]) => number);
  const linux = renumberedErrnos.map(([, , number]) => number);
  expect(new Set(darwin).size).toBe(darwin.length);
  expect(new Set(linux).size).toBe(linux.length);
  for (const number of linux) expect(linuxErrno(darwinErrno(number))).toBe(number);
  for (let number = 1; number <= 34; number++) {
    if (number !== 11) expect([linuxErrno(number), darwinErrno(number)]).toEqual([number, number]);
  }
});

test("any number becomes an errno that the wire may carry", () => {
  fc.assert(
    fc.property(fc.integer(), (number) => {
      for (const errno of [linuxErrno(number), darwinErrno(number)]) {
        expect(errno).toBeGreaterThan(0);
        expect(errno).toBeLessThan(134);
      }
    }),
  );
});

requireFacility("linux", "program:cc").test("Linux numbers are those of errno.h", () => {
  const declared = new Map(renumberedErrnos.map(([name, , linux]) => [name, BigInt(linux)]));
  const probe = { headers: ["errno.h"], expressions: declared.keys() };
  expect(probeHeaders(probe)).toEqual(declared);
});
