import { expect, test } from "vitest";
import { MmioDriver } from "../../testing/mmio-driver.js";
import { VIRTIO_MMIO_CONFIG_GENERATION } from "../../transport/mmio-layout.js";
import { ConsoleDevice, virtioConsoleConfig } from "./console-device.js";

const text = (value: string) => new TextEncoder().encode(value);

function setUp(options: { columns?: number; rows?: number } = {}) {
  let output = "";
  let drains = 0;
  const device = new ConsoleDevice({
    onOutput: (bytes) => {
      output += new TextDecoder().decode(bytes);
    },
    onDrain: () => {
      drains += 1;
    },
    size: { columns: options.columns ?? 80, rows: options.rows ?? 25 },
  });
  const driver = new MmioDriver(device);
  return { device, driver, output: () => output, drains: () => drains };
}

test("passes on what the guest prints, in order", () => {
  const { driver, output } = setUp();
  driver.start();
  driver.request(1, [text("hello "), text("wor")]);
  driver.request(1, [text("ld\n")]);
  expect(output()).toBe("hello world\n");
});

test("input waits for the guest's buffers and fills them", () => {
  const { device, driver } = setUp();
  device.input(text("early "));
  driver.start();
  driver.queue(0).submit([], [4]);
  driver.queue(0).submit([], [16]);
  driver.notify(0);
  device.input(text("late"));
  driver.queue(0).submit([], [16]);
  driver.notify(0);
  const lines = driver
    .queue(0)
    .collect()
    .map(({ data }) => new TextDecoder().decode(data));
  expect(lines).toEqual(["earl", "y ", "late"]);
});

test("input pushes back at 64 KiB and says when it drained", () => {
  const { device, driver, drains } = setUp();
  driver.start();
  expect(device.input(new Uint8Array(1000))).toBe(true);
  expect(device.input(new Uint8Array(65536))).toBe(false);
  expect(drains()).toBe(0);
  driver.queue(0).submit([], [4096]);
  driver.notify(0);
  expect(drains()).toBe(1);
  expect(driver.queue(0).collect()).toMatchObject([{ written: 4096 }]);
});

test("resize changes the configuration and its generation, and interrupts", () => {
  const { device, driver } = setUp();
  driver.start();
  const generation = driver.read(VIRTIO_MMIO_CONFIG_GENERATION);
  device.resize({ columns: 132, rows: 50 });
  expect(driver.read(VIRTIO_MMIO_CONFIG_GENERATION)).not.toBe(generation);
  expect(driver.acknowledge()).toBe(2);
  expect(virtioConsoleConfig.decode(driver.readConfig(0, 12))).toMatchObject({
    cols: 132,
    rows: 50,
  });
  expect(() => device.resize({ columns: -1, rows: 1 })).toThrow(RangeError);
});

test("the emergency register prints before the driver is up", () => {
  const { driver, output } = setUp();
  driver.write(0x100 + virtioConsoleConfig.offsets.emerg_wr, 0x21);
  expect(output()).toBe("!");
});
