import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { QueueService } from "../src/device/queue-service.js";
import { VIRTIO_RING_F_EVENT_IDX } from "../src/feature.js";
import { GuestMemory } from "../src/memory/guest-memory.js";
import {
  availableRingSize,
  usedRingSize,
  vringAvail,
  vringDesc,
  vringUsed,
  vringUsedElem,
} from "../src/queue/ring-layout.js";
import { Virtqueue } from "../src/queue/virtqueue.js";

const SIZE = 64;
const REQUESTS = 100_000;

/**
 * A driver on a thread of its own, as a vCPU is. It sleeps in Atomics.wait until it is interrupted, so
 * a lost doorbell or a lost interrupt stops it for ever.
 */
function driver(): void {
  const { parentPort, workerData } = require("node:worker_threads");
  const { buffer, interruptBuffer, eventIndex, layout, size, requests } = workerData;
  const data = new DataView(buffer);
  const u16 = new Uint16Array(buffer);
  const interrupts = new Int32Array(interruptBuffer);
  const at = (address: number) => address / 2;
  const needsEvent = (event: number, now: number, before: number) =>
    ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
  const free = Array.from({ length: size }, (_, index) => index);
  const sent = new Map<number, number>();
  let submitted = 0;
  let completed = 0;
  let available = 0;
  let used = 0;
  const waits = { doorbells: 0, sleeps: 0 };

  const submit = () => {
    const before = available;
    while (free.length > 0 && submitted < requests) {
      const head = free.pop() ?? 0;
      // A request is one writable buffer with a number in it, which the device inverts.
      data.setUint32(layout.buffers + head * 4, submitted, true);
      sent.set(head, submitted);
      u16[at(layout.availableRing) + 2 + (available % size)] = head;
      available = (available + 1) & 0xffff;
      submitted += 1;
      if (submitted % 3 === 0) break;
    }
    if (available === before) return;
    Atomics.store(u16, at(layout.availableRing) + 1, available);
    const wanted = eventIndex
      ? needsEvent(Atomics.load(u16, layout.availEvent / 2), available, before)
      : (Atomics.load(u16, at(layout.usedRing)) & 1) === 0;
    if (wanted) {
      waits.doorbells += 1;
      parentPort.postMessage("doorbell");
    }
  };

  const collect = () => {
    let count = 0;
    while (Atomics.load(u16, at(layout.usedRing) + 1) !== used) {
      const element = layout.usedRing + 4 + (used % size) * 8;
      const head = data.getUint32(element, true);
      if (
        data.getUint32(layout.buffers + head * 4, true) !==
        ((sent.get(head) ?? 0) ^ 0xffff) >>> 0
      ) {
        throw new Error(`request ${sent.get(head)} came back wrong`);
      }
      if (!sent.delete(head)) throw new Error(`head ${head} came back twice`);
      free.push(head);
      used = (used + 1) & 0xffff;
      completed += 1;
      count += 1;
    }
    return count;
  };

  while (completed < requests) {
    const seen = Atomics.load(interrupts, 0);
    submit();
    // Ask for the next interrupt, then look once more: what came before is not announced again.
    if (eventIndex) Atomics.store(u16, layout.usedEvent / 2, used);
    if (collect() > 0 || (free.length > 0 && submitted < requests)) continue;
    waits.sleeps += 1;
    if (Atomics.wait(interrupts, 0, seen, 10_000) === "timed-out") {
      throw new Error(`no interrupt after ${completed} of ${submitted} requests`);
    }
  }
  parentPort.postMessage(waits);
}

test.each([
  ["flags", 0n],
  ["event index", VIRTIO_RING_F_EVENT_IDX],
])(
  "a driver on another thread loses neither doorbell nor interrupt with %s",
  async (_, features) => {
    const base = 0x1000;
    const availableRing = vringDesc.size * SIZE;
    const usedRing = Math.ceil((availableRing + availableRingSize(SIZE)) / 4) * 4;
    const buffers = Math.ceil((usedRing + usedRingSize(SIZE)) / 16) * 16;
    const buffer = new SharedArrayBuffer(0x4000);
    const interruptBuffer = new SharedArrayBuffer(4);
    const interrupts = new Int32Array(interruptBuffer);
    const data = new DataView(buffer);
    for (let index = 0; index < SIZE; index++) {
      const at = index * vringDesc.size;
      data.setUint32(at + vringDesc.offsets.addr, base + buffers + index * 4, true);
      data.setUint32(at + vringDesc.offsets.len, 4, true);
      data.setUint16(at + vringDesc.offsets.flags, 2, true);
    }
    const queue = new Virtqueue(new GuestMemory([{ guestAddress: base, buffer }]), {
      size: SIZE,
      descriptorTable: base,
      availableRing: base + availableRing,
      usedRing: base + usedRing,
      features,
      interrupt: () => {
        Atomics.add(interrupts, 0, 1);
        Atomics.notify(interrupts, 0);
      },
    });
    const failures: Error[] = [];
    const service = new QueueService(queue, {
      serve: (chain) => {
        const request = chain.writable[0];
        if (request !== undefined) {
          const value = new DataView(request.buffer, request.byteOffset, 4);
          value.setUint32(0, value.getUint32(0, true) ^ 0xffff, true);
        }
        queue.addUsed(chain, 4);
        return true;
      },
      fail: (reason) => failures.push(reason),
    });
    const worker = new Worker(`(${driver.toString()})()`, {
      eval: true,
      workerData: {
        buffer,
        interruptBuffer,
        eventIndex: features !== 0n,
        size: SIZE,
        requests: REQUESTS,
        layout: {
          availableRing,
          usedRing,
          buffers,
          usedEvent: availableRing + vringAvail.size + 2 * SIZE,
          availEvent: usedRing + vringUsed.size + vringUsedElem.size * SIZE,
        },
      },
    });
    const result = await new Promise<{ doorbells: number; sleeps: number }>((resolve, reject) => {
      worker.on("error", reject);
      worker.on("message", (message) => {
        if (message === "doorbell") service.run();
        else resolve(message);
      });
    });
    await worker.terminate();
    expect(failures).toEqual([]);
    expect(queue.inFlight).toBe(0);
    expect(queue.usedIndex).toBe(REQUESTS & 0xffff);
    // The point of it all: the driver did go to sleep, and most requests needed no doorbell.
    expect(result.sleeps).toBeGreaterThan(0);
    expect(result.doorbells).toBeGreaterThan(0);
    expect(result.doorbells).toBeLessThan(REQUESTS);
  },
);
