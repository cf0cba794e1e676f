import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { VirtqueueError } from "../error.js";
import { VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC } from "../feature.js";
import { GuestMemory } from "../memory/guest-memory.js";
import { DriverQueue } from "../testing/driver-queue.js";
import { GuestHeap } from "../testing/guest-heap.js";
import {
  VRING_DESC_F_INDIRECT,
  VRING_DESC_F_NEXT,
  VRING_DESC_F_WRITE,
  vringAvail,
} from "./ring-layout.js";
import { totalLength } from "./scatter.js";
import { Virtqueue } from "./virtqueue.js";

const ALL = VIRTIO_RING_F_EVENT_IDX | VIRTIO_RING_F_INDIRECT_DESC;
const BASE = 0x1000;
const MEMORY = 1 << 20;

function setUp({ size = 8, features = ALL, memorySize = MEMORY } = {}) {
  const buffer = new SharedArrayBuffer(memorySize);
  const memory = new GuestMemory([{ guestAddress: BASE, buffer }]);
  const driver = new DriverQueue(new GuestHeap(memory, BASE, memorySize), size, features);
  const failures: VirtqueueError[] = [];
  let interrupts = 0;
  const queue = new Virtqueue(memory, {
    size,
    descriptorTable: driver.descriptorTable,
    availableRing: driver.availableRing,
    usedRing: driver.usedRing,
    features,
    interrupt: () => {
      interrupts += 1;
    },
    fail: (reason) => failures.push(reason),
  });
  return { memory, driver, queue, failures, interrupts: () => interrupts };
}

const bytes = (...values: number[]) => Uint8Array.from(values);

function popOne(queue: Virtqueue) {
  const chain = queue.pop();
  if (chain === undefined) throw new Error("the queue is empty");
  return chain;
}

describe("Virtqueue", () => {
  test("gives the buffers of a chain in place and hands it back with a length", () => {
    const { driver, queue, interrupts } = setUp();
    const head = driver.submit([bytes(1, 2), bytes(3)], [4, 8]);
    const chain = popOne(queue);
    expect(chain.head).toBe(head);
    expect(chain.readable.map((buffer) => [...buffer])).toEqual([[1, 2], [3]]);
    expect(chain.writable.map((buffer) => buffer.length)).toEqual([4, 8]);
    expect([chain.readableLength, chain.writableLength]).toEqual([3, 12]);
    expect(chain.write(2, bytes(7, 7, 7))).toBe(3);
    queue.addUsed(chain, 5);
    queue.notifyUsed();
    expect(interrupts()).toBe(1);
    expect(driver.collect()).toEqual([{ head, written: 5, data: bytes(0, 0, 7, 7, 7) }]);
    expect(queue.pop()).toBeUndefined();
  });

  test("follows an indirect table after direct descriptors", () => {
    const { memory, driver, queue } = setUp();
    const table = BASE + 0x8000;
    driver.writeDescriptor(0, BASE + 0x9000, 16, VRING_DESC_F_NEXT, 1);
    driver.writeDescriptor(1, table, 32, VRING_DESC_F_INDIRECT, 0);
    driver.writeDescriptor(0, BASE + 0x9100, 4, VRING_DESC_F_NEXT, 1, table);
    driver.writeDescriptor(1, BASE + 0x9200, 8, VRING_DESC_F_WRITE, 0, table);
    memory.slice(BASE + 0x9100, 1)?.set([9]);
    driver.publish(0);
    const chain = popOne(queue);
    expect([chain.readableLength, chain.writableLength]).toEqual([20, 8]);
    expect(chain.readable[1]?.[0]).toBe(9);
  });

  test("a buffer across two regions that touch becomes two slices", () => {
    const memory = new GuestMemory([
      { guestAddress: 0, buffer: new ArrayBuffer(0x8000) },
      { guestAddress: 0x8000, buffer: new ArrayBuffer(0x8000) },
    ]);
    const driver = new DriverQueue(new GuestHeap(memory, 0, 0x4000), 4, ALL);
    const queue = new Virtqueue(memory, { ...driver, features: ALL, interrupt: () => {} });
    driver.writeDescriptor(0, 0x7ff0, 0x20, 0, 0);
    driver.publish(0);
    expect(popOne(queue).readable.map((buffer) => buffer.length)).toEqual([0x10, 0x10]);
  });

  test("unpop gives the same chain again", () => {
    const { driver, queue } = setUp();
    const first = driver.submit([bytes(1)]);
    const second = driver.submit([bytes(2)]);
    queue.unpop(popOne(queue));
    expect([popOne(queue).head, popOne(queue).head]).toEqual([first, second]);
  });

  test("continues at saved indexes", () => {
    const { memory, driver, queue } = setUp();
    for (let round = 0; round < 5; round++) {
      driver.submit([bytes(round)]);
      queue.addUsed(popOne(queue), 0);
    }
    driver.collect();
    const again = new Virtqueue(memory, {
      ...driver,
      size: 8,
      features: ALL,
      interrupt: () => {},
      lastAvailableIndex: queue.lastAvailableIndex,
      usedIndex: queue.usedIndex,
    });
    const head = driver.submit([bytes(5)]);
    const chain = popOne(again);
    expect([...(chain.readable[0] ?? [])]).toEqual([5]);
    again.addUsed(chain, 0);
    expect(driver.collect()).toMatchObject([{ head }]);
  });

  test("handing a chain back twice is refused", () => {
    const { driver, queue } = setUp();
    driver.submit([bytes(1)]);
    const chain = popOne(queue);
    queue.addUsed(chain, 0);
    expect(() => queue.addUsed(chain, 0)).toThrow(
      expect.objectContaining({ code: "ERR_VIRTIO_CHAIN_NOT_IN_FLIGHT" }),
    );
  });

  test("a chain handed back after close touches no memory", () => {
    const { driver, queue, interrupts } = setUp();
    driver.submit([bytes(1)], [8]);
    const chain = popOne(queue);
    queue.close();
    chain.complete(8);
    expect(driver.collect()).toEqual([]);
    expect(interrupts()).toBe(0);
  });

  test("with NO_INTERRUPT the driver is left alone, and NO_NOTIFY is set while the device polls", () => {
    const { driver, queue, interrupts } = setUp({ features: 0n });
    driver.wantInterrupts(false);
    queue.disableNotifications();
    driver.submit([bytes(1)]);
    expect(driver.shouldNotify()).toBe(false);
    queue.addUsed(popOne(queue), 0);
    queue.notifyUsed();
    expect(interrupts()).toBe(0);
    driver.wantInterrupts(true);
    expect(queue.enableNotifications()).toBe(false);
    driver.submit([bytes(2)]);
    expect(driver.shouldNotify()).toBe(true);
    queue.addUsed(popOne(queue), 0);
    queue.notifyUsed();
    expect(interrupts()).toBe(1);
  });

  test.each([
    ["a size that is no power of two", { size: 3 }],
    ["a size above 32768", { size: 65536 }],
    ["a size of zero", { size: 0 }],
    ["a misaligned descriptor table", { descriptorTable: BASE + 8 }],
    ["a misaligned available ring", { availableRing: BASE + 1 }],
    ["a misaligned used ring", { usedRing: BASE + 2 }],
    ["a ring outside of memory", { usedRing: BASE + MEMORY }],
    ["a ring that reaches past the memory", { descriptorTable: BASE + MEMORY - 16 }],
    ["an address of 2^60", { availableRing: 2 ** 60 }],
  ])("refuses %s", (_, change) => {
    const { memory, driver } = setUp();
    const { size, descriptorTable, availableRing, usedRing } = driver;
    const layout = { size, descriptorTable, availableRing, usedRing, ...change };
    expect(() => new Virtqueue(memory, { ...layout, features: ALL, interrupt: () => {} })).toThrow(
      expect.objectContaining({ code: "ERR_VIRTIO_QUEUE_GEOMETRY" }),
    );
  });
});

describe("a hostile ring stops the queue with a reason", () => {
  const BUFFER = BASE + 0x9000;
  const TABLE = BASE + 0x8000;
  type Break = (driver: DriverQueue, memory: GuestMemory) => void;
  const cases: [string, RegExp, Break][] = [
    ["a head past the table", /descriptor 8 of a table of 8/, (driver) => driver.publish(8)],
    [
      "a next past the table",
      /descriptor 99/,
      (driver) => {
        driver.writeDescriptor(0, BUFFER, 1, VRING_DESC_F_NEXT, 99);
        driver.publish(0);
      },
    ],
    [
      "a loop",
      /loop/,
      (driver) => {
        driver.writeDescriptor(0, BUFFER, 1, VRING_DESC_F_NEXT, 1);
        driver.writeDescriptor(1, BUFFER, 1, VRING_DESC_F_NEXT, 0);
        driver.publish(0);
      },
    ],
    [
      "a loop inside an indirect table",
      /loop/,
      (driver) => {
        driver.writeDescriptor(0, TABLE, 16, VRING_DESC_F_INDIRECT, 0);
        driver.writeDescriptor(0, BUFFER, 1, VRING_DESC_F_NEXT, 0, TABLE);
        driver.publish(0);
      },
    ],
    [
      "a buffer outside of memory",
      /buffer of 1 bytes at 0x0/,
      (driver) => {
        driver.writeDescriptor(0, 0, 1, 0, 0);
        driver.publish(0);
      },
    ],
    [
      "a buffer that reaches past the memory",
      /buffer of 4294967295 bytes/,
      (driver) => {
        driver.writeDescriptor(0, BUFFER, 0xffff_ffff, 0, 0);
        driver.publish(0);
      },
    ],
    [
      "an address of 2^64 - 1",
      /buffer of 1 bytes/,
      (driver, memory) => {
        driver.writeDescriptor(0, 0, 1, 0, 0);
        memory.slice(driver.descriptorTable, 8)?.fill(0xff);
        driver.publish(0);
      },
    ],
    [
      "an empty buffer",
      /empty buffer/,
      (driver) => {
        driver.writeDescriptor(0, BUFFER, 0, 0, 0);
        driver.publish(0);
      },
    ],
    [
      "readable after writable",
      /readable buffer after/,
      (driver) => {
        driver.writeDescriptor(0, BUFFER, 1, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
        driver.writeDescriptor(1, BUFFER, 1, 0, 0);
        driver.publish(0);
      },
    ],
    [
      "a nested indirect table",
      /inside an indirect/,
      (driver) => {
        driver.writeDescriptor(0, TABLE, 16, VRING_DESC_F_INDIRECT, 0);
        driver.writeDescriptor(0, TABLE, 16, VRING_DESC_F_INDIRECT, 0, TABLE);
        driver.publish(0);
      },
    ],
    [
      "an indirect descriptor with a next one",
      /with a next/,
      (driver) => {
        driver.writeDescriptor(0, TABLE, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1);
        driver.publish(0);
      },
    ],
    [
      "an indirect table that is no multiple of 16",
      /table of 24 bytes/,
      (driver) => {
        driver.writeDescriptor(0, TABLE, 24, VRING_DESC_F_INDIRECT, 0);
        driver.publish(0);
      },
    ],
    [
      "an empty indirect table",
      /table of 0 bytes/,
      (driver) => {
        driver.writeDescriptor(0, TABLE, 0, VRING_DESC_F_INDIRECT, 0);
        driver.publish(0);
      },
    ],
    [
      "an available index that jumps past the queue size",
      /jumped by 9/,
      (driver, memory) => memory.writeU16(driver.availableRing + vringAvail.offsets.idx, 9),
    ],
  ];

  test.each(cases)("%s", (_, message, breakRing) => {
    const { memory, driver, queue, failures } = setUp();
    breakRing(driver, memory);
    expect(queue.pop()).toBeUndefined();
    expect(failures).toHaveLength(1);
    expect(failures[0]).toBeInstanceOf(VirtqueueError);
    expect(failures[0]?.message).toMatch(message);
    driver.publish(1);
    expect(queue.pop()).toBeUndefined();
    expect(queue.enableNotifications()).toBe(false);
    expect(failures).toHaveLength(1);
  });

  test("an indirect descriptor that was not negotiated", () => {
    const { driver, queue, failures } = setUp({ features: 0n });
    driver.submit([bytes(1)], [], { indirect: true });
    expect(queue.pop()).toBeUndefined();
    expect(failures[0]?.message).toMatch(/not negotiated/);
  });

  test("a chain of more than 2^32 bytes", () => {
    const { driver, queue, failures } = setUp({ memorySize: 8 << 20 });
    driver.writeDescriptor(0, TABLE, 16 * 1024, VRING_DESC_F_INDIRECT, 0);
    for (let at = 0; at < 1024; at++) {
      driver.writeDescriptor(at, BASE, 8 << 20, VRING_DESC_F_NEXT, at + 1, TABLE);
    }
    driver.publish(0);
    expect(queue.pop()).toBeUndefined();
    expect(failures[0]?.message).toMatch(/2\^32/);
  });

  test("the same head offered more often than the queue is long", () => {
    const { driver, queue, failures } = setUp({ size: 4 });
    driver.writeDescriptor(0, BUFFER, 1, 0, 0);
    for (let round = 0; round < 4; round++) driver.publish(0);
    while (queue.pop()) expect(queue.inFlight).toBeLessThanOrEqual(4);
    driver.publish(0);
    expect(queue.pop()).toBeUndefined();
    expect(failures[0]?.message).toMatch(/more than 4 chains/);
  });

  test("random rings never throw, never give a byte outside of guest memory, and end", () => {
    const word = fc.oneof(
      fc.integer({ min: 0, max: 0xffff_ffff }),
      fc.integer({ min: BASE, max: BASE + 0x2000 }),
      fc.integer({ min: 0, max: 64 }),
    );
    const descriptor = fc.record({
      index: fc.nat(15),
      address: fc.oneof(word, fc.maxSafeNat()),
      length: word,
      flags: fc.integer({ min: 0, max: 7 }),
      next: fc.oneof(fc.nat(15), fc.nat(0xffff)),
    });
    fc.assert(
      fc.property(
        fc.array(descriptor, { minLength: 1, maxLength: 40 }),
        fc.array(fc.oneof(fc.nat(15), fc.nat(0xffff)), { maxLength: 20 }),
        fc.nat(0xffff),
        fc.boolean(),
        (descriptors, heads, jump, jumps) => {
          const { memory, driver, queue, failures } = setUp({ size: 16 });
          for (const { index, address, length, flags, next } of descriptors) {
            driver.writeDescriptor(index, address, length, flags, next);
          }
          for (const head of heads) driver.publish(head);
          if (jumps) memory.writeU16(driver.availableRing + vringAvail.offsets.idx, jump);
          let popped = 0;
          for (let chain = queue.pop(); chain; chain = queue.pop()) {
            popped += 1;
            expect(chain.readableLength).toBe(totalLength(chain.readable));
            expect(chain.writableLength).toBe(totalLength(chain.writable));
            if (popped % 2) queue.addUsed(chain, chain.writableLength);
          }
          expect(popped).toBeLessThanOrEqual(16);
          expect(failures.length).toBeLessThanOrEqual(1);
        },
      ),
      { numRuns: runs(2000) },
    );
  });
});

describe("model", () => {
  /** A device and a driver take turns at random; the wake-ups are exactly those that the rings ask for. */
  const step = fc.record({
    submit: fc.nat(4),
    buffers: fc.integer({ min: 1, max: 4 }),
    indirect: fc.boolean(),
    poll: fc.nat(5),
    collect: fc.boolean(),
    hold: fc.boolean(),
  });

  test.each([
    ["flags", 0n],
    ["event index", VIRTIO_RING_F_EVENT_IDX],
    ["event index and indirect tables", ALL],
  ])("with %s every chain arrives once, in order, and no wake-up is lost", (_, features) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { driver, queue, interrupts, failures } = setUp({ size: 8, features });
        const canIndirect = (features & VIRTIO_RING_F_INDIRECT_DESC) !== 0n;
        let sent = 0;
        let expected = sent;
        let deviceAwake = queue.enableNotifications();
        let collected = 0;
        let completed = 0;
        const held: (() => void)[] = [];
        driver.wantInterrupts(true);
        let seenInterrupts = 0;

        const serve = (budget: number, hold: boolean) => {
          for (let round = 0; round < budget; round++) {
            const chain = queue.pop();
            if (chain === undefined) {
              deviceAwake = queue.enableNotifications();
              return;
            }
            const value = chain.readable[0]?.[0] ?? -1;
            expect(value).toBe(expected & 0xff);
            expected += 1;
            const finish = () => {
              chain.write(0, bytes(value));
              queue.addUsed(chain, 1);
              completed += 1;
            };
            if (hold) held.push(finish);
            else finish();
          }
        };

        for (const { submit, buffers, indirect, poll, collect, hold } of steps) {
          for (let round = 0; round < submit; round++) {
            const useTable = indirect && canIndirect;
            if (driver.free < (useTable ? 1 : buffers + 1)) break;
            const rest = Array.from({ length: buffers - 1 }, () => bytes(0));
            driver.submit([bytes(sent & 0xff), ...rest], [1], { indirect: useTable });
            sent += 1;
          }
          // Ringing is all that wakes a device that went to sleep.
          if (driver.shouldNotify()) deviceAwake = true;
          if (deviceAwake) serve(poll, hold);
          if (!hold) for (const finish of held.splice(0)) finish();
          queue.notifyUsed();
          // A driver that waits with nothing collected must have been interrupted for what is there.
          if (completed > collected) expect(interrupts()).toBeGreaterThan(seenInterrupts);
          if (collect) {
            driver.wantInterrupts(true);
            collected += driver.collect().length;
            driver.wantInterrupts(true);
            seenInterrupts = interrupts();
          }
        }
        // Everything submitted is reached by following wake-ups alone.
        while (deviceAwake) serve(3, false);
        for (const finish of held.splice(0)) finish();
        expect(expected).toBe(sent);
        collected += driver.collect().length;
        expect(collected).toBe(completed);
        expect(driver.outstanding).toBe(0);
        expect(failures).toEqual([]);
      }),
      { numRuns: runs(500) },
    );
  });
});
