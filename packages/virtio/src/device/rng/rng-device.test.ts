import { expect, test } from "vitest";
import { MmioDriver } from "../../testing/mmio-driver.js";
import { RngDevice } from "./rng-device.js";

test("fills the driver's buffers with entropy", () => {
  using driver = new MmioDriver(new RngDevice()).start();
  const { written, data } = driver.request(0, [], [64, 64]);
  expect(written).toBe(128);
  expect(new Set(data).size).toBeGreaterThan(60);
  expect(driver.request(0, [], [64, 64]).data).not.toEqual(data);
});

test("one request gets at most 64 KiB", () => {
  using driver = new MmioDriver(new RngDevice()).start();
  expect(driver.request(0, [], [100_000]).written).toBe(65536);
});

test("a request without room gets nothing", () => {
  using driver = new MmioDriver(new RngDevice()).start();
  expect(driver.request(0, [new Uint8Array(8)]).written).toBe(0);
});
