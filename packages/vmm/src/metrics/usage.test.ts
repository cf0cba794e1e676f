import { Mapping } from "@supermachine-internal/libc";
import { requireFacility } from "@supermachine-internal/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { currentThread, mappedMemory, sumMappings, threadTime } from "./usage.js";

const linux = requireFacility("linux");
const MiB = 2 ** 20;

linux.test("memory counts when it is touched, and no more when it is given back", async () => {
  using memory = Mapping.anonymous(64 * MiB);
  const ranges = [{ start: memory.address, end: memory.address + BigInt(memory.length) }];
  const bytes = new Uint8Array(memory.view());
  const before = (await mappedMemory(ranges))?.residentBytes ?? Number.NaN;
  for (let at = 0; at < 16 * MiB; at += 4096) bytes[at] = 1;
  const touched = await mappedMemory(ranges);
  expect(touched?.residentBytes).toBeGreaterThanOrEqual(before + 16 * MiB);
  expect(touched?.privateBytes).toBe(touched?.residentBytes);
  memory.discard(0, memory.length);
  expect((await mappedMemory(ranges))?.residentBytes).toBeLessThanOrEqual(before);
});

linux.test("a thread that works uses processor time", async () => {
  expect(currentThread()).toBe(process.pid);
  const before = await threadTime(currentThread());
  for (const end = performance.now() + 50; performance.now() < end; );
  const after = await threadTime(currentThread());
  const used = (after?.cpuSeconds ?? 0) - (before?.cpuSeconds ?? 0);
  const waited = (after?.waitSeconds ?? 0) - (before?.waitSeconds ?? 0);
  expect(used + waited).toBeGreaterThan(0.04);
});

test("a thread that is not there has no time", async () => {
  expect(await threadTime(0)).toBeUndefined();
});

describe("smaps", () => {
  const mapping = (start: number, end: number, rss: number) =>
    `${start.toString(16)}-${end.toString(16)} rw-p 00000000 00:00 0 \nSize: 4 kB\nRss:      ${rss} kB\nPss: 1 kB\nAnonymous: 1 kB\nSwap:   2 kB\nSwapPss: 9 kB\nVmFlags: rd wr\n`;

  test("mappings that overlap a range count once, others do not", () => {
    const text =
      mapping(0x1000, 0x3000, 8) + mapping(0x3000, 0x5000, 16) + mapping(0x6000, 0x7000, 32);
    const ranges = [
      { start: 0x2000n, end: 0x2800n },
      { start: 0x2800n, end: 0x3001n },
    ];
    expect(sumMappings(text, ranges)).toEqual({
      residentBytes: 24 * 1024,
      privateBytes: 2048,
      swappedBytes: 4096,
    });
    expect(sumMappings(text, [{ start: 0x5000n, end: 0x6000n }]).residentBytes).toBe(0);
  });

  test("any text is read without harm", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(sumMappings(text, [{ start: 0n, end: 1n }]).residentBytes).toBe(0);
      }),
    );
  });
});
