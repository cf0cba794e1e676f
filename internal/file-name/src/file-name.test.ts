import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeName, encodeName, nameLength, writeName } from "./index.js";

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  fc.string({ unit: "binary" }).map((text) => new TextEncoder().encode(text)),
  fc.array(fc.constantFrom(0xc3, 0xa9, 0xed, 0xa0, 0xb2, 0x80, 0xf0, 0x9f, 0x92, 0xa9, 0x41), {
    maxLength: 12,
  }),
);

describe("names", () => {
  it("survive decoding and encoding, whatever their bytes", () => {
    fc.assert(
      fc.property(bytes, (raw) => {
        const original = Uint8Array.from(raw);
        expect(encodeName(decodeName(original))).toEqual(original);
        expect(encodeName(decodeName(Buffer.from(original)))).toEqual(original);
      }),
      { numRuns: runs(2000) },
    );
  });

  it("differ where their bytes differ", () => {
    const name = fc.uint8Array({ maxLength: 40 });
    fc.assert(
      fc.property(name, name, (a, b) => {
        expect(decodeName(a) === decodeName(b)).toBe(Buffer.compare(a, b) === 0);
      }),
      { numRuns: runs(2000) },
    );
  });

  it("keep a byte order mark, which is part of the name", () => {
    expect(decodeName(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61))).toBe("\ufeffa");
    expect(encodeName("\ufeffa")).toEqual(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61));
  });

  it("of valid UTF-8 decode as TextDecoder decodes them", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const wellFormed = text.replace(/[\ud800-\udfff]/gu, "x");
        expect(decodeName(new TextEncoder().encode(wellFormed))).toBe(wellFormed);
        expect(encodeName(wellFormed)).toEqual(new TextEncoder().encode(wellFormed));
      }),
    );
  });

  it("are escaped byte by byte where they are not UTF-8", () => {
    expect(decodeName(Uint8Array.of(0x61, 0xff, 0x62))).toBe("a\udcffb");
    expect(decodeName(Uint8Array.of(0xed, 0xa0, 0x80))).toBe("\udced\udca0\udc80");
    expect(decodeName(Uint8Array.of(0xc0, 0xaf))).toBe("\udcc0\udcaf");
  });

  it("report the length that writing takes, also for strings no name decodes to", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 0xffff })), (units) => {
        const text = String.fromCharCode(...units);
        const room = new Uint8Array(text.length * 3 + 1);
        expect(writeName(text, room, 1)).toBe(nameLength(text));
      }),
    );
  });

  it("are written to the last byte of a buffer and refused beyond it", () => {
    expect(writeName("né", new Uint8Array(3), 0)).toBe(3);
    expect(() => writeName("né", new Uint8Array(2), 0)).toThrow(RangeError);
  });
});
