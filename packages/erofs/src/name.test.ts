import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeName, encodeName } from "./name.js";

test("any bytes come back from their name, and no two share one", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ maxLength: 40 }), (a, b) => {
      expect(Buffer.compare(encodeName(decodeName(a)), a)).toBe(0);
      expect(decodeName(a) === decodeName(b)).toBe(Buffer.compare(a, b) === 0);
    }),
    { numRuns: 2000 },
  );
});

test("UTF-8 is plain text, a byte order mark included", () => {
  for (const text of ["ünïcode", "😀", "\ufeffmark", ""]) {
    expect(decodeName(Buffer.from(text))).toBe(text);
    expect(Buffer.from(encodeName(text)).toString()).toBe(text);
  }
});

test("a byte that is not UTF-8 is one lone surrogate", () => {
  expect(decodeName(Uint8Array.of(0x61, 0xfc, 0x62))).toBe("a\udcfcb");
});
