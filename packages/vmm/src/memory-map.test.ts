import { expect, test } from "vitest";
import { HIGH_RAM_START, MMIO_GAP_START, ramRanges } from "./memory-map.js";

test("small memory is one range from zero", () => {
  expect(ramRanges(256)).toEqual([{ guestAddress: 0, size: 256 * 2 ** 20 }]);
});

test("memory above the MMIO gap continues at 4 GiB", () => {
  const ranges = ramRanges(6 * 1024);
  expect(ranges.reduce((sum, { size }) => sum + size, 0)).toBe(6 * 2 ** 30);
  for (const { guestAddress, size } of ranges) {
    const end = guestAddress + size;
    expect(end <= MMIO_GAP_START || guestAddress >= HIGH_RAM_START).toBe(true);
    expect(size).toBeLessThan(2 ** 32 - 4096);
  }
});
