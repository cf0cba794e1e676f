import { describe, expect, test } from "vitest";
import { GuestMemory } from "../../memory/guest-memory.js";
import { VRING_DESC_F_NEXT, VRING_DESC_F_WRITE } from "../../queue/ring-layout.js";
import { MmioDriver } from "../../testing/mmio-driver.js";
import { FsDevice, type FuseRequestHandler, virtioFsConfig } from "./fs-device.js";

const bytes = (...values: number[]) => Uint8Array.from(values);

/** Answers with the request's bytes, reversed; at once or when asked to. */
function reverser() {
  const later: (() => void)[] = [];
  let deferred = false;
  const session: FuseRequestHandler = {
    handle: (input, output, complete) => {
      const request = input.flatMap((buffer) => [...buffer]).reverse();
      const answer = () => {
        output[0]?.set(request);
        complete(output.length === 0 ? 0 : request.length);
      };
      if (deferred) later.push(answer);
      else answer();
    },
  };
  return {
    session,
    later,
    defer: () => {
      deferred = true;
    },
  };
}

/** For windows that nobody accesses. */
const windowAccess = { read: () => false, write: () => false };

describe("FsDevice", () => {
  test("shows its tag and number of request queues", () => {
    using driver = new MmioDriver(
      new FsDevice({ tag: "données", session: reverser().session, requestQueues: 2 }),
    );
    const config = virtioFsConfig.decode(driver.readConfig(0, virtioFsConfig.size));
    expect(new TextDecoder().decode(config.tag).replaceAll("\0", "")).toBe("données");
    expect(config.num_request_queues).toBe(2);
    driver.start();
    expect(driver.queues).toHaveLength(3);
  });

  test.each([
    ["an empty tag", { tag: "" }],
    ["a tag of 37 bytes", { tag: "x".repeat(37) }],
    ["a tag with NUL", { tag: "a\0b" }],
    ["no request queue", { tag: "x", requestQueues: 0 }],
  ])("refuses %s", (_, options) => {
    expect(() => new FsDevice({ session: reverser().session, ...options })).toThrow(
      expect.objectContaining({ code: "ERR_VIRTIO_DEVICE_OPTIONS" }),
    );
  });

  test("counts requests by opcode", () => {
    const opcodeName = (opcode: number) => (opcode === 15 ? "READ" : `opcode ${opcode}`);
    const device = new FsDevice({ tag: "t", session: reverser().session, opcodeName });
    using driver = new MmioDriver(device).start();
    const request = (...header: number[]) => driver.request(1, [bytes(...header)], [8]);
    request(40, 0, 0, 0, 15, 0, 0, 0);
    request(40, 0, 0, 0, 15, 0, 0, 0);
    request(40, 0, 0, 0, 200, 0, 0, 0);
    request(1);
    expect(device.counters()).toEqual({ READ: 2, "opcode 0": 2 });
  });

  test("shows its cache window as shared memory region 0, and no other region", () => {
    const cacheWindow = { ...windowAccess, length: 5 * 2 ** 30, hostAddress: 2n ** 40n };
    using driver = new MmioDriver(
      new FsDevice({ tag: "t", session: reverser().session, cacheWindow }),
    );
    const regions = [0, 1].map((id) => driver.sharedMemory(id));
    expect(regions).toEqual([
      { length: 5n * 2n ** 30n, base: BigInt(MmioDriver.sharedMemoryAddress) },
      { length: 2n ** 64n - 1n, base: 2n ** 64n - 1n },
    ]);
    using without = new MmioDriver(new FsDevice({ tag: "t", session: reverser().session }));
    expect(without.sharedMemory(0)).toEqual(regions[1]);
  });

  test.each([
    ["of no bytes", { length: 0, hostAddress: 2n ** 40n }],
    ["of half a range", { length: 2 ** 20, hostAddress: 2n ** 40n }],
    ["out of line", { length: 2 ** 21, hostAddress: 2n ** 40n + 4096n }],
  ])("refuses a cache window %s", (_, range) => {
    const cacheWindow = { ...windowAccess, ...range };
    expect(() => new FsDevice({ tag: "t", session: reverser().session, cacheWindow })).toThrow(
      expect.objectContaining({ code: "ERR_VIRTIO_DEVICE_OPTIONS" }),
    );
  });

  test("serves requests of every queue in place", () => {
    using driver = new MmioDriver(new FsDevice({ tag: "t", session: reverser().session })).start();
    for (const queue of [0, 1]) {
      const { data } = driver.request(queue, [bytes(1, 2), bytes(3)], [8], { indirect: true });
      expect(data).toEqual(bytes(3, 2, 1));
    }
    expect(driver.request(0, [bytes(9)]).written).toBe(0);
  });

  test("buffers in another device's window are copied in and out, where that is possible", () => {
    const window = new Uint8Array(64).fill(1);
    let accessible = true;
    const memory = new GuestMemory(
      [{ guestAddress: 0x10_0000, buffer: new SharedArrayBuffer(1 << 20) }],
      [
        {
          guestAddress: MmioDriver.sharedMemoryAddress,
          length: window.length,
          read: (offset, target) => {
            target.set(window.subarray(offset, offset + target.length));
            return accessible;
          },
          write: (offset, source) => {
            window.set(source, offset);
            return accessible;
          },
        },
      ],
    );
    const device = new FsDevice({ tag: "t", session: reverser().session });
    using driver = new MmioDriver(device, { memory, memorySize: 1 << 20 }).start();
    window.set([5, 6, 7]);
    const send = () => {
      const queue = driver.queue(1);
      const at = MmioDriver.sharedMemoryAddress;
      queue.writeDescriptor(0, at, 3, VRING_DESC_F_NEXT, 1);
      queue.writeDescriptor(1, at + 8, 4, VRING_DESC_F_WRITE, 0);
      queue.publish(0);
      driver.notify(1);
    };
    send();
    expect([...window.subarray(7, 13)]).toEqual([1, 7, 6, 5, 1, 1]);
    expect(driver.failures).toEqual([]);
    accessible = false;
    send();
    expect(driver.failures.map(({ message }) => message).join()).toContain("buffer of 3 bytes");
  });

  test.each([
    ["beyond its end", 62, 3],
    ["before its start", -1, 3],
    ["larger than any request", 0, 3 << 20],
  ])("a buffer in a window %s breaks the queue", (_, offset, length) => {
    const memory = new GuestMemory(
      [{ guestAddress: 0x10_0000, buffer: new SharedArrayBuffer(1 << 20) }],
      [
        {
          guestAddress: MmioDriver.sharedMemoryAddress,
          length: offset === 0 ? 4 << 20 : 64,
          read: () => true,
          write: () => true,
        },
      ],
    );
    const device = new FsDevice({ tag: "t", session: reverser().session });
    using driver = new MmioDriver(device, { memory, memorySize: 1 << 20 }).start();
    const address = MmioDriver.sharedMemoryAddress + offset;
    driver.queue(1).writeDescriptor(0, address, length, 0, 0);
    driver.queue(1).publish(0);
    driver.notify(1);
    expect(driver.failures).toHaveLength(1);
  });

  test("requests complete later, in any order, each with an interrupt", () => {
    const { session, later, defer } = reverser();
    using driver = new MmioDriver(new FsDevice({ tag: "t", session })).start();
    defer();
    const queue = driver.queue(1);
    const first = queue.submit([bytes(1)], [1]);
    const second = queue.submit([bytes(2)], [1]);
    driver.notify(1);
    expect(queue.collect()).toEqual([]);
    expect(driver.transport.inFlight).toBe(2);
    later[1]?.();
    expect(driver.interrupts).toBe(1);
    later[0]?.();
    expect(queue.collect().map(({ head }) => head)).toEqual([second, first]);
    expect(driver.transport.inFlight).toBe(0);
  });

  test("a reply after a reset goes nowhere, and the session hears of the reset", () => {
    const { session, later, defer } = reverser();
    let resets = 0;
    const onReset = () => {
      resets += 1;
    };
    using driver = new MmioDriver(new FsDevice({ tag: "t", session, onReset })).start();
    expect(resets).toBe(0);
    defer();
    const queue = driver.queue(1);
    queue.submit([bytes(1)], [1]);
    driver.notify(1);
    driver.reset();
    // Guest memory must stay mapped until the session is done with it.
    expect(driver.transport.inFlight).toBe(1);
    later[0]?.();
    expect(driver.transport.inFlight).toBe(0);
    expect(queue.collect()).toEqual([]);
    expect(driver.interrupts).toBe(0);
    expect(resets).toBe(1);
  });

  test("a session that throws fails the device, not the process", () => {
    const session: FuseRequestHandler = {
      handle: () => {
        throw new Error("broken session");
      },
    };
    using driver = new MmioDriver(new FsDevice({ tag: "t", session })).start();
    driver.queue(1).submit([bytes(1)], [1]);
    driver.notify(1);
    expect(driver.failures.map(({ message }) => message)).toEqual(["broken session"]);
    expect(driver.status & 0x40).toBe(0x40);
  });
});
