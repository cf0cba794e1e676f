import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GuestMemory } from "./guest-memory.js";

/** 64 KiB at 64 KiB, 64 KiB right after, a hole, and 4 KiB above 4 GiB. */
const regions = () =>
  new GuestMemory([
    { guestAddress: 0x1_0000, buffer: new ArrayBuffer(0x1_0000) },
    { guestAddress: 0x2_0000, buffer: new SharedArrayBuffer(0x1_0000) },
    { guestAddress: 0x1_0000_0000, buffer: new ArrayBuffer(0x1000) },
  ]);

describe("GuestMemory", () => {
  test("slices are views, not copies", () => {
    const memory = regions();
    memory.slice(0x1_0000_0ff0, 16)?.fill(7);
    expect(memory.readU32(0x1_0000_0ffc)).toBe(0x07070707);
    expect(memory.slice(0x1_0000_0ff0, 17)).toBeUndefined();
    expect(memory.slice(0x1_0000_1000, 0)?.length).toBe(0);
  });

  test("slice stays within a region where collect crosses into the next", () => {
    const memory = regions();
    expect(memory.slice(0x1_fff0, 32)).toBeUndefined();
    const into: Uint8Array[] = [];
    expect(memory.collect(0x1_fff0, 32, into)).toBe(true);
    expect(into.map(({ length }) => length)).toEqual([16, 16]);
    expect(memory.collect(0x2_fff0, 32, [])).toBe(false);
  });

  test("numbers are little-endian and checked", () => {
    const memory = regions();
    expect(memory.writeU64(0x1_0000, 2 ** 52 + 3)).toBe(true);
    expect(memory.readU64(0x1_0000)).toBe(2 ** 52 + 3);
    expect(memory.readU32(0x1_0000)).toBe(3);
    expect(memory.writeU32(0x1_0004, 0x20_0000)).toBe(true);
    expect(memory.readU64(0x1_0000)).toBeUndefined();
    expect(memory.writeU16(0x1_0001, 0xabcd)).toBe(true);
    expect(memory.readU16(0x1_0001)).toBe(0xabcd);
    expect(memory.slice(0x1_0001, 1)?.[0]).toBe(0xcd);
    expect([
      memory.writeU16(0x2_ffff, 1),
      memory.writeU32(0, 1),
      memory.writeU64(2 ** 60, 1),
    ]).toEqual([false, false, false]);
  });

  test("answers what a plain model answers, for any address and length", () => {
    const memory = regions();
    const ranges = [
      [0x1_0000, 0x2_0000],
      [0x2_0000, 0x3_0000],
      [0x1_0000_0000, 0x1_0000_1000],
    ] as const;
    const address = fc.oneof(
      fc.maxSafeNat(),
      fc.integer({ min: 0xfff0, max: 0x3_0010 }),
      fc.integer({ min: 0, max: 0x1010 }).map((offset) => 0x1_0000_0000 + offset),
      fc.constantFrom(-1, 2 ** 64 - 2048, Number.NaN, Number.POSITIVE_INFINITY),
    );
    const length = fc.oneof(fc.nat(64), fc.nat(0xffff_ffff));
    fc.assert(
      fc.property(address, length, (at, count) => {
        const expected = ranges.some(([start, end]) => at >= start && at + count <= end);
        expect(memory.contains(at, count)).toBe(expected);
        expect(memory.slice(at, count)?.length).toBe(expected ? count : undefined);
        expect(memory.readU64(at) !== undefined).toBe(
          ranges.some(([start, end]) => at >= start && at + 8 <= end),
        );
        const into: Uint8Array[] = [];
        const collected = memory.collect(at, count, into);
        if (expected) expect([collected, into.length]).toEqual([true, 1]);
      }),
      { numRuns: runs(2000) },
    );
  });

  test.each([
    [
      "overlapping regions",
      [
        [0, 32],
        [16, 32],
      ],
    ],
    [
      "regions out of order",
      [
        [64, 32],
        [0, 32],
      ],
    ],
    ["a misaligned region", [[8, 32]]],
    ["an empty region", [[0, 0]]],
    ["a negative address", [[-16, 32]]],
    ["an address past 2^53", [[2 ** 53, 32]]],
  ])("refuses %s", (_, list) => {
    const make = () =>
      new GuestMemory(
        list.map(([guestAddress = 0, length = 0]) => ({
          guestAddress,
          buffer: new ArrayBuffer(length),
        })),
      );
    expect(make).toThrow(expect.objectContaining({ code: "ERR_VIRTIO_MEMORY_REGION" }));
  });
});
