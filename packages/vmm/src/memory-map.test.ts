import { expect, test } from "vitest";
import { HIGH_RAM_START, MMIO_GAP_START, ramRanges, sharedMemoryAddresses } from "./memory-map.js";

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

test("shared memory regions lie above all RAM and apart", () => {
  const GiB = 2 ** 30;
  expect(sharedMemoryAddresses(256, [GiB / 4, 2 * GiB, GiB])).toEqual(
    [4, 5, 7].map((n) => n * GiB),
  );
  const [above] = sharedMemoryAddresses(6 * 1024 + 1, [GiB]);
  const end = Math.max(
    ...ramRanges(6 * 1024 + 1).map(({ guestAddress, size }) => guestAddress + size),
  );
  expect(above).toBeGreaterThanOrEqual(end);
});
