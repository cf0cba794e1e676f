import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DeviceContext, VirtioDevice } from "../device/device.js";
import { FsDevice } from "../device/fs/fs-device.js";
import { RngDevice } from "../device/rng/rng-device.js";
import { GuestMemory } from "../memory/guest-memory.js";
import { MmioDriver } from "../testing/mmio-driver.js";
import { MmioDevice } from "./mmio.js";
import {
  MMIO_WINDOW_SIZE,
  VIRTIO_MMIO_CONFIG,
  VIRTIO_MMIO_CONFIG_GENERATION,
  VIRTIO_MMIO_DEVICE_ID,
  VIRTIO_MMIO_DRIVER_FEATURES,
  VIRTIO_MMIO_DRIVER_FEATURES_SEL,
  VIRTIO_MMIO_INTERRUPT_STATUS,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_QUEUE_NUM,
  VIRTIO_MMIO_QUEUE_NUM_MAX,
  VIRTIO_MMIO_QUEUE_READY,
  VIRTIO_MMIO_QUEUE_SEL,
  VIRTIO_MMIO_STATUS,
} from "./mmio-layout.js";
import { MmioAction, MmioRegisters } from "./mmio-registers.js";

const [ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET] = [1, 2, 4, 8, 0x40] as const;

/** Records what the transport does with it. */
class Recorder implements VirtioDevice {
  readonly deviceId = 42;
  readonly features = 0b101n;
  readonly queueSizes = [8, 16];
  readonly config = Uint8Array.of(1, 2, 3, 4, 5, 6);
  readonly calls: string[] = [];
  context: DeviceContext | undefined;

  activate(context: DeviceContext): void {
    this.context = context;
    this.calls.push(`activate ${context.queues.map((queue) => queue?.size ?? "off")}`);
  }
  notify(index: number): void {
    this.calls.push(`notify ${index}`);
  }
  writeConfig(offset: number, bytes: Uint8Array): void {
    this.calls.push(`config ${offset} ${[...bytes]}`);
  }
  reset(): void {
    this.calls.push("reset");
  }
  close(): void {
    this.calls.push("close");
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

function setUp() {
  const device = new Recorder();
  const driver = new MmioDriver(device);
  return { device, driver };
}

describe("registers", () => {
  test("identify the device", () => {
    const { driver } = setUp();
    expect([0, 4, VIRTIO_MMIO_DEVICE_ID].map((offset) => driver.read(offset))).toEqual([
      0x74726976, 2, 42,
    ]);
    expect(driver.offeredFeatures()).toBe(0b101n | (1n << 28n) | (1n << 29n) | (1n << 32n));
  });

  test("a feature that was not offered, or a legacy driver, does not get FEATURES_OK", () => {
    const { device, driver } = setUp();
    const offer = (low: number, high: number) => {
      driver.reset();
      driver.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
      driver.write(VIRTIO_MMIO_DRIVER_FEATURES, low);
      driver.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
      driver.write(VIRTIO_MMIO_DRIVER_FEATURES, high);
      driver.write(VIRTIO_MMIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
      return driver.status;
    };
    expect(offer(0b111, 1)).toBe(ACKNOWLEDGE | DRIVER);
    expect(offer(0b101, 0)).toBe(ACKNOWLEDGE | DRIVER);
    expect(offer(0b101, 3)).toBe(ACKNOWLEDGE | DRIVER);
    expect(device.calls).not.toContain("activate off,off");
    expect(offer(0b001, 1)).toBe(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    expect(device.calls).toContain("activate off,off");
    expect(device.context?.features).toBe((1n << 32n) | 1n);
  });

  test("a queue that does not exist reads as size 0 and takes no writes", () => {
    const { driver } = setUp();
    driver.write(VIRTIO_MMIO_QUEUE_SEL, 2);
    driver.write(VIRTIO_MMIO_QUEUE_NUM, 8);
    driver.write(VIRTIO_MMIO_QUEUE_READY, 1);
    expect(
      [VIRTIO_MMIO_QUEUE_NUM_MAX, VIRTIO_MMIO_QUEUE_READY].map((at) => driver.read(at)),
    ).toEqual([0, 0]);
    driver.write(VIRTIO_MMIO_QUEUE_SEL, 1);
    expect(driver.read(VIRTIO_MMIO_QUEUE_NUM_MAX)).toBe(16);
  });

  test("the configuration space answers bytes, halves and words, also unaligned", () => {
    const { driver } = setUp();
    expect(driver.read(VIRTIO_MMIO_CONFIG + 1, 1)).toBe(2);
    expect(driver.read(VIRTIO_MMIO_CONFIG + 3, 2)).toBe(0x0504);
    expect(driver.read(VIRTIO_MMIO_CONFIG, 4)).toBe(0x04030201);
    expect(driver.read(MMIO_WINDOW_SIZE - 2, 4)).toBe(0);
  });

  test("a write to the configuration space reaches the device", () => {
    const { device, driver } = setUp();
    driver.write(VIRTIO_MMIO_CONFIG + 2, 0xbeef, 2);
    expect(device.calls).toEqual(["config 2 239,190"]);
  });

  test("a changed configuration changes its generation and interrupts", () => {
    const { device, driver } = setUp();
    driver.start();
    const before = driver.read(VIRTIO_MMIO_CONFIG_GENERATION);
    device.config[0] = 9;
    device.context?.raiseConfigChange();
    expect(driver.read(VIRTIO_MMIO_CONFIG_GENERATION)).not.toBe(before);
    expect(driver.read(VIRTIO_MMIO_CONFIG, 1)).toBe(9);
    expect([driver.interrupts, driver.acknowledge()]).toEqual([1, 2]);
    expect(driver.read(VIRTIO_MMIO_INTERRUPT_STATUS)).toBe(0);
  });

  test("no two reads of the generation agree while the configuration changes", () => {
    const registers = MmioRegisters.create(new Recorder());
    let reads: number[] = [];
    const config = new Proxy(Uint8Array.of(7, 7), {
      get: (target, key) => {
        reads.push(registers.read(VIRTIO_MMIO_CONFIG_GENERATION, 4));
        return Reflect.get(target, key, target);
      },
    });
    registers.publishConfig(config);
    const before = reads[0];
    reads = reads.filter((value) => value !== before);
    expect(reads.length).toBeGreaterThan(1);
    expect(new Set(reads).size).toBe(reads.length);
    expect(registers.read(VIRTIO_MMIO_CONFIG_GENERATION, 4)).not.toBe(before);
  });

  test("any access of any size and value answers a u32 and throws nothing", () => {
    const { driver } = setUp();
    const offset = fc.oneof(
      fc.integer({ min: 0, max: MMIO_WINDOW_SIZE + 8 }),
      fc.nat(0x7f).map((word) => word * 4),
    );
    const access = fc.record({
      offset,
      size: fc.constantFrom(1, 2, 4, 4, 4, 8),
      value: fc.oneof(fc.nat(0xffff_ffff), fc.nat(16)),
      isWrite: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(access, { maxLength: 50 }), (accesses) => {
        for (const { offset: at, size, value, isWrite } of accesses) {
          if (isWrite) driver.write(at, value, size);
          const read = driver.read(at, size);
          expect(Number.isInteger(read) && read >= 0 && read <= 0xffff_ffff).toBe(true);
        }
      }),
      { numRuns: runs(1000) },
    );
  });
});

describe("MmioDevice", () => {
  test("starts the device with the driver's queues and rings each once", () => {
    const { device, driver } = setUp();
    driver.start({ queueSize: 8 });
    expect(device.calls).toEqual(["reset", "activate 8,8", "notify 0", "notify 1"]);
    driver.write(VIRTIO_MMIO_QUEUE_NOTIFY, 1);
    driver.write(VIRTIO_MMIO_QUEUE_NOTIFY, 2);
    expect(device.calls.slice(4)).toEqual(["notify 1"]);
  });

  test("a queue that the driver laid out badly fails the device, and a reset heals it", () => {
    const { device, driver } = setUp();
    const start = (size: number) => {
      driver.reset();
      driver.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
      driver.write(VIRTIO_MMIO_DRIVER_FEATURES, 1);
      driver.write(VIRTIO_MMIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
      driver.write(VIRTIO_MMIO_QUEUE_NUM, size);
      driver.write(VIRTIO_MMIO_QUEUE_READY, 1);
      driver.write(VIRTIO_MMIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    };
    for (const size of [0, 3, 32, 8]) start(size);
    expect(driver.failures.map(({ message }) => message)).toEqual([
      expect.stringMatching(/queue size 0/),
      expect.stringMatching(/queue size 3/),
      expect.stringMatching(/exceeds the maximum 8/),
      expect.stringMatching(/descriptor table at 0x0/),
    ]);
    expect(driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
    expect(driver.interrupts).toBe(4);
    driver.start();
    expect(driver.status & NEEDS_RESET).toBe(0);
    expect(device.calls).toContain("activate 8,16");
  });

  test("a failure of a driver that is gone does not touch the next one", () => {
    const { device, driver } = setUp();
    driver.start();
    const old = device.context;
    driver.start();
    old?.fail(new Error("late"));
    expect(driver.failures).toEqual([]);
    expect(driver.status & NEEDS_RESET).toBe(0);
    device.context?.fail(new Error("now"));
    device.context?.fail(new Error("again"));
    expect(driver.failures.map(({ message }) => message)).toEqual(["now"]);
  });

  test("a reset that a vCPU wrote before the device thread saw DRIVER_OK wins", () => {
    const device = new Recorder();
    const memory = new GuestMemory([{ guestAddress: 0, buffer: new ArrayBuffer(4096) }]);
    const registers = MmioRegisters.create(device);
    const vcpu = new MmioRegisters(registers.buffer, registers.byteOffset);
    const transport = new MmioDevice(device, memory, registers, () => {});
    vcpu.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 4, 1);
    vcpu.write(VIRTIO_MMIO_DRIVER_FEATURES, 4, 1);
    const actions = [
      vcpu.write(VIRTIO_MMIO_STATUS, 4, ACKNOWLEDGE | DRIVER | FEATURES_OK),
      vcpu.write(VIRTIO_MMIO_STATUS, 4, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK),
      vcpu.write(VIRTIO_MMIO_STATUS, 4, 0),
      vcpu.write(VIRTIO_MMIO_STATUS, 4, ACKNOWLEDGE),
    ];
    expect(actions).toEqual([
      MmioAction.none,
      MmioAction.activate,
      MmioAction.reset,
      MmioAction.none,
    ]);
    for (const action of actions) transport.handle(action);
    expect(device.calls).toEqual(["reset"]);
    expect(vcpu.read(VIRTIO_MMIO_STATUS, 4)).toBe(ACKNOWLEDGE);
  });

  test("a snapshot continues in another device, requests and all", () => {
    using first = new MmioDriver(new RngDevice()).start();
    first.request(0, [], [16]);
    const queue = first.queue(0);
    const state = structuredClone(first.save());
    queue.submit([], [8]);
    const device = new RngDevice();
    using second = new MmioDriver(device, { memory: first.memory });
    second.transport.restore(state);
    expect(queue.collect()).toMatchObject([{ written: 8 }]);
    expect(second.interrupts).toBeGreaterThan(0);
    second.queues = [queue];
    expect(second.request(0, [], [32]).written).toBe(32);
  });

  test("what a device keeps beside its rings goes along, before it serves a request", () => {
    class Remembering extends RngDevice {
      readonly calls: string[] = [];
      saveState = () => Buffer.from("kept");
      restoreState = (state: Uint8Array | undefined) => {
        this.calls.push(`restore ${state && Buffer.from(state)}`);
      };
      override activate(context: DeviceContext): void {
        this.calls.push("activate");
        super.activate(context);
      }
    }
    using first = new MmioDriver(new Remembering()).start();
    const state = structuredClone(first.save());
    const device = new Remembering();
    using second = new MmioDriver(device, { memory: first.memory });
    second.transport.restore(state);
    expect(device.calls).toEqual(["restore kept", "activate"]);
    const fresh = new Remembering();
    using third = new MmioDriver(fresh, { memory: first.memory });
    third.transport.restore({ ...state, device: null });
    expect(fresh.calls[0]).toBe("restore undefined");
  });

  test("a snapshot of another device is refused", () => {
    using rng = new MmioDriver(new RngDevice()).start();
    const session = { handle: () => {} };
    using fs = new MmioDriver(new FsDevice({ tag: "x", session }));
    const mismatch = expect.objectContaining({ code: "ERR_VIRTIO_STATE_MISMATCH" });
    expect(() => fs.transport.restore(rng.save())).toThrow(mismatch);
    const registers = rng.save().registers.subarray(0, 20);
    using other = new MmioDriver(new RngDevice());
    expect(() => other.transport.restore({ registers, queues: [], device: null })).toThrow(
      mismatch,
    );
    expect(() => rng.transport.restore(rng.save())).toThrow(mismatch);
  });

  test("after close nothing reaches the device", () => {
    const { device, driver } = setUp();
    driver.start();
    driver.close();
    driver.close();
    driver.write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    device.context?.raiseConfigChange();
    expect(device.calls.slice(-1)).toEqual(["close"]);
    expect(driver.interrupts).toBe(0);
  });
});

test("what the queues carried is counted over resets", () => {
  using driver = new MmioDriver(new RngDevice()).start();
  driver.request(0, [], [64, 36]);
  driver.request(0, [new Uint8Array(8)], [10]);
  const { queues, interrupts } = driver.transport.counters();
  expect(queues).toEqual([
    { requests: 2, bytesFromGuest: 8, bytesToGuest: 110, doorbells: expect.any(Number) },
  ]);
  expect(interrupts).toBe(driver.interrupts);
  driver.start();
  driver.request(0, [], [1]);
  const [queue] = driver.transport.counters().queues;
  expect(queue).toMatchObject({ requests: 3, bytesFromGuest: 8, bytesToGuest: 111 });
  expect(queue?.doorbells).toBeGreaterThanOrEqual(3);
});
