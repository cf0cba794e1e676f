import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GuestMemory } from "../../memory/guest-memory.js";
import { MmioDriver } from "../../testing/mmio-driver.js";
import { BalloonDevice } from "./balloon-device.js";
import {
  VIRTIO_BALLOON_F_STATS_VQ,
  VIRTIO_BALLOON_S_AVAIL,
  VIRTIO_BALLOON_S_MEMFREE,
  virtioBalloonConfig,
  virtioBalloonStat,
} from "./balloon-layout.js";

const [INFLATE, DEFLATE, STATISTICS, REPORTING] = [0, 1, 2, 3];
const PAGE = 4096;
const BASE = 0x10_0000;
const SIZE = 16 << 20;
const { num_pages, actual } = virtioBalloonConfig.offsets;

/** A driver whose memory records what is given back, as guest addresses. */
function setUp(options: { without?: bigint } = {}) {
  const discarded: [address: number, length: number][] = [];
  const region = (guestAddress: number, size: number) => ({
    guestAddress,
    buffer: new SharedArrayBuffer(size),
    discard: (offset: number, length: number) => discarded.push([guestAddress + offset, length]),
  });
  // Two regions that touch, as those of a large machine do.
  const memory = new GuestMemory([region(BASE, SIZE), region(BASE + SIZE, SIZE)]);
  const device = new BalloonDevice();
  const driver = new MmioDriver(device, { memory }).start(options);
  return { device, driver, memory, discarded };
}

const u32 = (...values: number[]) => new Uint8Array(Uint32Array.from(values).buffer);
const readU32 = (driver: MmioDriver, offset: number) =>
  new DataView(driver.readConfig(offset, 4).buffer).getUint32(0, true);

function statistic(tag: number, val: bigint): Uint8Array {
  const bytes = Buffer.alloc(virtioBalloonStat.size);
  virtioBalloonStat.encode({ tag, val }, bytes);
  return bytes;
}

describe("inflating", () => {
  test("gives the listed pages back to the host, neighbours at once", () => {
    const { driver, discarded } = setUp();
    const first = BASE / PAGE;
    driver.request(INFLATE, [u32(first + 9, first + 8, first + 3, first + 8, first + 10)]);
    expect(discarded).toEqual([
      [BASE + 3 * PAGE, PAGE],
      [BASE + 8 * PAGE, 3 * PAGE],
    ]);
    driver.request(INFLATE, [u32(first)]);
    expect(discarded.slice(2)).toEqual([[BASE, PAGE]]);
  });

  test("a run of pages across two regions is given back in both", () => {
    const { driver, discarded } = setUp();
    const border = (BASE + SIZE) / PAGE;
    driver.request(INFLATE, [u32(border - 1, border)]);
    expect(discarded).toEqual([
      [BASE + SIZE - PAGE, PAGE],
      [BASE + SIZE, PAGE],
    ]);
  });

  test("pages that do not exist are passed over, and so is what is no whole number", () => {
    const { driver, discarded } = setUp();
    driver.request(INFLATE, [u32(0, 0xffff_ffff, 0xf_ffff, BASE / PAGE), new Uint8Array(3)]);
    expect(discarded).toEqual([[BASE, PAGE]]);
    expect(driver.failures).toEqual([]);
  });

  test("of a request that lists more pages than any driver does, the rest is kept", () => {
    const { driver, discarded } = setUp();
    const pages = Array.from({ length: 1000 }, (_, index) => BASE / PAGE + 2 * index);
    driver.request(INFLATE, [u32(...pages)]);
    expect(discarded).toHaveLength(256);
  });

  test("deflating asks nothing of the host", () => {
    const { driver, discarded } = setUp();
    expect(driver.request(DEFLATE, [u32(BASE / PAGE)]).written).toBe(0);
    expect(discarded).toEqual([]);
  });
});

describe("the target", () => {
  test("reaches the driver with an interrupt, and the driver's answer comes back", () => {
    const { device, driver } = setUp();
    const before = driver.interrupts;
    device.targetBytes = 5 * PAGE;
    expect(driver.interrupts).toBe(before + 1);
    expect(readU32(driver, num_pages)).toBe(5);
    driver.write(0x100 + actual, 3);
    expect(device.actualBytes).toBe(3 * PAGE);
    expect(readU32(driver, actual)).toBe(3);
  });

  test("outlives a reset, unlike the balloon itself", () => {
    const { device, driver } = setUp();
    device.targetBytes = 5 * PAGE;
    driver.write(0x100 + actual, 5);
    driver.start();
    expect([device.targetBytes, device.actualBytes]).toEqual([5 * PAGE, 0]);
    expect(readU32(driver, num_pages)).toBe(5);
  });

  test("is the host's alone", () => {
    const { device, driver } = setUp();
    driver.write(0x100 + num_pages, 7);
    driver.write(0x100 + actual, 7, 1);
    expect([device.targetBytes, device.actualBytes]).toEqual([0, 0]);
  });

  test.each([-4096, 100, 2 ** 44, Number.NaN])("%d bytes are refused", (bytes) => {
    const { device } = setUp();
    expect(() => {
      device.targetBytes = bytes;
    }).toThrow(expect.objectContaining({ code: "ERR_VIRTIO_DEVICE_OPTIONS" }));
  });

  test("is part of the saved state", () => {
    const { device } = setUp();
    device.targetBytes = 9 * PAGE;
    const restored = new BalloonDevice();
    restored.restoreState(device.saveState());
    expect(restored.targetBytes).toBe(9 * PAGE);
    expect(() => restored.restoreState(new Uint8Array(3))).toThrow(
      expect.objectContaining({ code: "ERR_VIRTIO_STATE_MISMATCH" }),
    );
  });
});

describe("reported free memory", () => {
  test("goes back to the host, buffer by buffer", () => {
    const { device, driver, discarded } = setUp();
    driver.request(REPORTING, [], [4 * PAGE, 64]);
    expect(discarded.map(([, length]) => length)).toEqual([4 * PAGE, 64]);
    expect(device.reportedBytes).toBe(4 * PAGE + 64);
  });

  test("comes in the next queue from a driver without statistics", () => {
    const { driver, discarded } = setUp({ without: VIRTIO_BALLOON_F_STATS_VQ });
    driver.request(STATISTICS, [], [4 * PAGE]);
    expect(discarded).toHaveLength(1);
  });
});

describe("statistics", () => {
  test("are asked of the driver, and nothing stays in flight between", async () => {
    const { device, driver } = setUp();
    driver.queue(STATISTICS).submit([statistic(VIRTIO_BALLOON_S_MEMFREE, 1n)]);
    driver.notify(STATISTICS);
    expect(driver.transport.inFlight).toBe(0);
    for (const free of [2n, 3n]) {
      const answers = [device.statistics(), device.statistics()];
      expect(driver.queue(STATISTICS).collect()).toHaveLength(1);
      driver
        .queue(STATISTICS)
        .submit([
          statistic(VIRTIO_BALLOON_S_MEMFREE, free),
          statistic(VIRTIO_BALLOON_S_AVAIL, 2n ** 63n),
          statistic(999, 1n),
        ]);
      driver.notify(STATISTICS);
      expect(await Promise.all(answers)).toEqual([
        { freeBytes: Number(free) },
        { freeBytes: Number(free) },
      ]);
      expect(driver.transport.inFlight).toBe(0);
    }
  });

  test("are unknown without a driver, without an answer in time, and after a reset", async () => {
    const { device, driver } = setUp();
    expect(await new BalloonDevice().statistics()).toBeUndefined();
    expect(await device.statistics(10)).toBeUndefined();
    const answer = device.statistics(60_000);
    driver.reset();
    expect(await answer).toBeUndefined();
  });
});

test("no request of any queue makes the device fail or give back what is not the guest's", () => {
  const { device, driver, discarded } = setUp();
  const pages = fc.oneof(fc.nat(0xffff_ffff), fc.integer({ min: 250, max: 8500 }));
  fc.assert(
    fc.property(
      fc.constantFrom(INFLATE, DEFLATE, REPORTING),
      fc.array(
        fc.oneof(
          fc.uint8Array({ minLength: 1, maxLength: 50 }),
          fc.array(pages, { minLength: 1, maxLength: 300 }).map((list) => u32(...list)),
        ),
        { maxLength: 4 },
      ),
      fc.array(fc.integer({ min: 1, max: 3 * PAGE }), { maxLength: 4 }),
      (queue, readable, writable) => {
        if (readable.length + writable.length === 0) return;
        expect(driver.request(queue, readable, writable).written).toBe(0);
      },
    ),
    { numRuns: runs(500) },
  );
  expect(driver.failures).toEqual([]);
  expect(device.reportedBytes).toBeGreaterThan(0);
  expect(
    discarded.every(
      ([address, length]) => address >= BASE && length > 0 && address + length <= BASE + 2 * SIZE,
    ),
  ).toBe(true);
});

test("any bytes as statistics are read without harm", async () => {
  const { device, driver } = setUp();
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 400 }), async (bytes) => {
      driver.queue(STATISTICS).collect();
      driver.queue(STATISTICS).submit([bytes]);
      const answer = device.statistics(5);
      driver.notify(STATISTICS);
      driver.queue(STATISTICS).collect();
      for (const value of Object.values((await answer) ?? {})) {
        expect(Number.isSafeInteger(value)).toBe(true);
      }
    }),
    { numRuns: 50 },
  );
  expect(driver.failures).toEqual([]);
});
