import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventFd } from "@supermachine-internal/libc";
import {
  openDescriptors,
  probeHeaders,
  requireFacility,
  runs,
  structLayout,
  until,
} from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { VIRTIO_F_VERSION_1 } from "../../feature.js";
import * as p from "./protocol.js";
import { serveVhostUser, type VhostUserServer } from "./server.js";
import { FrontEnd, SharedMemory, u64, vringState } from "./testing/front-end.js";
import { ReverseDevice } from "./testing/reverse-device.js";

let directory: string;
let device: ReverseDevice;
let server: VhostUserServer;
let warnings: string[];
let fdsBefore: string[];

function guestMappings(): number {
  return readFileSync("/proc/self/maps", "utf8").split("memfd:guest").length - 1;
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "vhost-user-"));
  device = new ReverseDevice();
  warnings = [];
  const options = {
    socketPath: join(directory, "device.sock"),
    device,
    logger: { warn: (message: string) => warnings.push(message) },
  };
  // The first server opens the event loop's own descriptors; only what comes after counts.
  serveVhostUser(options).close();
  fdsBefore = openDescriptors();
  server = serveVhostUser(options);
});

afterEach(async () => {
  server.close();
  rmSync(directory, { recursive: true });
  await until(() => guestMappings() === 0, "all guest memory to be unmapped");
  expect(openDescriptors()).toEqual(fdsBefore);
});

/** A front-end that has got as far as one running ring, or both. */
class Driver implements Disposable {
  readonly frontEnd: FrontEnd;
  readonly memory = new SharedMemory();
  readonly kicks = [new EventFd(), new EventFd()];
  readonly calls = [new EventFd(), new EventFd()];
  readonly errors = [new EventFd(), new EventFd()];

  constructor() {
    this.frontEnd = new FrontEnd(server.socketPath);
  }

  async start(rings: readonly number[] = [0], features = VIRTIO_F_VERSION_1): Promise<void> {
    const { frontEnd, memory } = this;
    frontEnd.send(p.VHOST_USER_SET_OWNER);
    frontEnd.send(
      p.VHOST_USER_SET_PROTOCOL_FEATURES,
      await frontEnd.ask(p.VHOST_USER_GET_PROTOCOL_FEATURES),
    );
    const accepted = features | (1n << BigInt(p.VHOST_USER_F_PROTOCOL_FEATURES));
    frontEnd.send(p.VHOST_USER_SET_FEATURES, u64(accepted));
    const table = memory.table(memory.describe());
    expect(await frontEnd.acknowledged(p.VHOST_USER_SET_MEM_TABLE, table, [memory.fd])).toBe(0n);
    for (const index of rings) this.startRing(index);
    for (const index of rings) frontEnd.send(p.VHOST_USER_SET_VRING_ENABLE, vringState(index, 1));
  }

  startRing(index: number, base = 0): void {
    const fd = (events: readonly EventFd[]) => events.slice(index, index + 1).map((e) => e.fd);
    this.frontEnd.send(p.VHOST_USER_SET_VRING_NUM, vringState(index, SharedMemory.ringSize));
    this.frontEnd.send(p.VHOST_USER_SET_VRING_BASE, vringState(index, base));
    this.frontEnd.send(p.VHOST_USER_SET_VRING_ADDR, this.memory.ringAddress(index));
    this.frontEnd.send(p.VHOST_USER_SET_VRING_CALL, u64(index), fd(this.calls));
    this.frontEnd.send(p.VHOST_USER_SET_VRING_ERR, u64(index), fd(this.errors));
    this.frontEnd.send(p.VHOST_USER_SET_VRING_KICK, u64(index), fd(this.kicks));
  }

  async reverse(text: string, index = 0): Promise<string> {
    const before = this.memory.usedIndex(index);
    this.memory.offer(index, Buffer.from(text), text.length);
    this.kicks[index]?.signal();
    await until(() => this.memory.usedIndex(index) !== before, "the request to be answered");
    return this.memory.answer(index, text.length).toString();
  }

  async stopRing(index: number): Promise<number> {
    const reply = await this.frontEnd.ask(p.VHOST_USER_GET_VRING_BASE, vringState(index, 0));
    return p.vringState.decode(reply).num;
  }

  [Symbol.dispose](): void {
    this.frontEnd[Symbol.dispose]();
    this.memory[Symbol.dispose]();
    for (const event of [...this.kicks, ...this.calls, ...this.errors]) event.close();
  }
}

requireFacility("program:cc").test(
  "structs that the kernel's vhost shares are laid out as in <linux/vhost_types.h>",
  () => {
    const { mmap_offset, ...region } = p.memoryRegion.offsets;
    const declared = new Map<string, bigint>([
      ...structLayout({ ...p.vringState, name: "vhost_vring_state" }),
      ...structLayout({ ...p.vringAddress, name: "vhost_vring_addr" }),
      ...structLayout({ ...p.memoryRegion, name: "vhost_memory_region", offsets: region }),
      // The protocol uses the padding of the kernel's struct.
      ["offsetof(struct vhost_memory_region, flags_padding)", BigInt(mmap_offset)],
      ["offsetof(struct vhost_memory, nregions)", BigInt(p.memoryTableHeader.offsets.nregions)],
      ["offsetof(struct vhost_memory, regions)", BigInt(p.memoryTableHeader.size)],
      ["sizeof(struct vhost_memory)", BigInt(p.memoryTableHeader.size)],
    ]);
    const headers = ["linux/vhost_types.h"];
    expect(probeHeaders({ headers, expressions: declared.keys() })).toEqual(declared);
  },
);

test("a request in shared memory is answered, and the driver is interrupted", async () => {
  using driver = new Driver();
  await driver.start();
  expect(await driver.reverse("hello")).toBe("olleh");
  expect(driver.calls[0]?.drain()).toBe(true);
  expect(await driver.reverse("again")).toBe("niaga");
  expect(device.activations).toBe(1);
});

test("features, queues and configuration are those of the device", async () => {
  using frontEnd = new FrontEnd(server.socketPath);
  const features = (await frontEnd.ask(p.VHOST_USER_GET_FEATURES)).readBigUInt64LE();
  expect(features & (device.features | VIRTIO_F_VERSION_1)).toBe(
    device.features | VIRTIO_F_VERSION_1,
  );
  expect((await frontEnd.ask(p.VHOST_USER_GET_QUEUE_NUM)).readBigUInt64LE()).toBe(2n);
  const request = Buffer.alloc(p.configHeader.size + 6);
  p.configHeader.encode({ offset: 1, size: 6, flags: 0 }, request);
  const reply = await frontEnd.ask(p.VHOST_USER_GET_CONFIG, request);
  expect([...reply.subarray(p.configHeader.size)]).toEqual([2, 3, 4, 0, 0, 0]);
  p.configHeader.encode({ offset: 3, size: 6, flags: 0 }, request);
  request[p.configHeader.size] = 9;
  frontEnd.send(p.VHOST_USER_SET_CONFIG, request);
  await until(() => device.config[3] === 9, "the configuration write");
});

test("a ring that stops says where it was, and goes on from there", async () => {
  using driver = new Driver();
  await driver.start();
  await driver.reverse("one");
  await driver.reverse("two");
  expect(await driver.stopRing(0)).toBe(2);
  driver.startRing(0, 2);
  expect(await driver.reverse("three")).toBe("eerht");
  expect(await driver.stopRing(0)).toBe(3);
  expect(device).toMatchObject({ activations: 1, resets: 0 });
});

test("a device whose rings begin anew serves a new driver", async () => {
  using driver = new Driver();
  await driver.start();
  await driver.reverse("one");
  expect(await driver.stopRing(0)).toBe(1);
  expect(device.resets).toBe(0);
  driver.memory.clearRing(0);
  driver.startRing(0, 0);
  expect(await driver.reverse("two")).toBe("owt");
  expect(device).toMatchObject({ activations: 2, resets: 1 });
});

test("what waits while its ring is stopped is served when it starts, without a doorbell", async () => {
  using driver = new Driver();
  await driver.start();
  await driver.reverse("one");
  const base = await driver.stopRing(0);
  driver.memory.offer(0, Buffer.from("two"), 3);
  driver.kicks[0]?.signal();
  await driver.frontEnd.ask(p.VHOST_USER_GET_QUEUE_NUM);
  driver.kicks[0]?.drain();
  expect(driver.memory.usedIndex(0)).toBe(1);
  driver.startRing(0, base);
  await until(() => driver.memory.usedIndex(0) === 2, "the request to be answered");
  expect(driver.memory.answer(0, 3).toString()).toBe("owt");
});

test("a driver that gives its interrupt last is interrupted for what it missed", async () => {
  using driver = new Driver();
  await driver.start();
  await driver.reverse("one");
  using call = new EventFd();
  driver.frontEnd.send(p.VHOST_USER_SET_VRING_CALL, u64(0), [call.fd]);
  await until(() => call.drain(), "the interrupt");
});

test("stopping a ring waits for its requests in flight", async () => {
  using driver = new Driver();
  await driver.start();
  device.hold = true;
  driver.memory.offer(0, Buffer.from("slow"), 4);
  driver.kicks[0]?.signal();
  await until(() => device.held.length === 1, "the request to be taken");
  const stopped = driver.stopRing(0);
  setTimeout(() => device.finish(), 20);
  expect(await stopped).toBe(1);
  expect(driver.memory.answer(0, 4).toString()).toBe("wols");
});

test("a request that outlasts the wait is answered when its ring runs again", async () => {
  using driver = new Driver();
  await driver.start();
  device.hold = true;
  driver.memory.offer(0, Buffer.from("lock"), 4);
  driver.kicks[0]?.signal();
  await until(() => device.held.length === 1, "the request to be taken");
  const base = await driver.stopRing(0);
  expect(warnings.join()).toMatch(/answered when the rings run again/);
  device.finish();
  expect(driver.memory.usedIndex(0)).toBe(0);
  driver.calls[0]?.drain();
  driver.startRing(0, base);
  await until(() => driver.memory.usedIndex(0) === 1, "the request to be answered");
  expect(driver.memory.answer(0, 4).toString()).toBe("kcol");
  expect(driver.calls[0]?.drain()).toBe(true);
});

test("a ring that starts later joins those that run", async () => {
  using driver = new Driver();
  await driver.start([0]);
  expect(await driver.reverse("first", 0)).toBe("tsrif");
  driver.startRing(1);
  driver.frontEnd.send(p.VHOST_USER_SET_VRING_ENABLE, vringState(1, 1));
  expect(await driver.reverse("second", 1)).toBe("dnoces");
  expect(await driver.reverse("third", 0)).toBe("driht");
});

test("a doorbell on a disabled ring is answered once the ring is enabled", async () => {
  using driver = new Driver();
  await driver.start([]);
  driver.startRing(0);
  const answer = driver.reverse("wait");
  await driver.frontEnd.ask(p.VHOST_USER_GET_QUEUE_NUM);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(device.activations).toBe(0);
  driver.frontEnd.send(p.VHOST_USER_SET_VRING_ENABLE, vringState(0, 1));
  expect(await answer).toBe("tiaw");
});

test("memory can be added, removed and replaced while rings run", async () => {
  using driver = new Driver();
  await driver.start();
  expect(await driver.reverse("before")).toBe("erofeb");
  using more = new SharedMemory();
  const single = Buffer.alloc(p.singleRegionHeader.size);
  const elsewhere = more.describe({ guest_phys_addr: 0x80000n, userspace_addr: 0x6f00_0000_0000n });
  const region = Buffer.concat([single, elsewhere]);
  expect(await driver.frontEnd.acknowledged(p.VHOST_USER_ADD_MEM_REG, region, [more.fd])).toBe(0n);
  expect(await driver.reverse("between")).toBe("neewteb");
  expect(await driver.frontEnd.acknowledged(p.VHOST_USER_REM_MEM_REG, region, [more.fd])).toBe(0n);
  const table = driver.memory.table(driver.memory.describe());
  await driver.frontEnd.acknowledged(p.VHOST_USER_SET_MEM_TABLE, table, [driver.memory.fd]);
  expect(await driver.reverse("after")).toBe("retfa");
  // The test's own two, and the back-end's one.
  expect(guestMappings()).toBe(2 + 1);
});

test("memory stays mapped until the last request in it is handed back", async () => {
  {
    using driver = new Driver();
    await driver.start();
    device.hold = true;
    driver.memory.offer(0, Buffer.from("late"), 4);
    driver.kicks[0]?.signal();
    await until(() => device.held.length === 1, "the request to be taken");
  }
  await until(() => device.context === undefined, "the front-end's end to be seen");
  expect(guestMappings()).toBe(1);
  device.finish();
  await until(() => guestMappings() === 0, "the memory to be unmapped");
});

test("a broken ring stops the device and signals the error descriptor; a reset brings it back", async () => {
  using driver = new Driver();
  await driver.start();
  const { available } = driver.memory.ring(0);
  driver.memory.data.setUint16(available + 2, 1000, true);
  driver.kicks[0]?.signal();
  await until(() => driver.errors[0]?.drain() === true, "the error to be signalled");
  expect(warnings.join()).toMatch(/stops until it is reset/);
  driver.frontEnd.send(p.VHOST_USER_RESET_DEVICE);
  driver.memory.data.setUint16(available + 2, 0, true);
  driver.startRing(0);
  driver.frontEnd.send(p.VHOST_USER_SET_VRING_ENABLE, vringState(0, 1));
  expect(await driver.reverse("alive")).toBe("evila");
});

test("a driver without VIRTIO_F_VERSION_1 is told what QEMU option is missing", async () => {
  using driver = new Driver();
  await driver.start([0], 0n);
  driver.memory.offer(0, Buffer.from("x"), 1);
  driver.kicks[0]?.signal();
  await until(() => warnings.length > 0, "a warning");
  expect(warnings[0]).toMatch(/force-legacy=false/);
});

test("a configuration change is announced on the back-end's channel", async () => {
  using driver = new Driver();
  using announced = new FrontEnd(server.socketPath);
  await announced.dropped();
  expect(warnings[0]).toMatch(/second front-end/);
  await driver.start();
  await driver.reverse("go");
  const path = join(directory, "channel.sock");
  const listening = serveVhostUser({ socketPath: path, device: new ReverseDevice() });
  using channel = new FrontEnd(path);
  driver.frontEnd.send(p.VHOST_USER_SET_BACKEND_REQ_FD, Buffer.alloc(0), [channel.socket.fd]);
  await driver.frontEnd.ask(p.VHOST_USER_GET_QUEUE_NUM);
  // What arrives there is a message of the protocol, one that this end does not serve, and says so.
  device.context?.raiseConfigChange();
  await channel.dropped();
  listening.close();
});

test("front-ends come one at a time, and may come back", async () => {
  for (let round = 0; round < 3; round++) {
    using driver = new Driver();
    await driver.start();
    expect(await driver.reverse("round")).toBe("dnuor");
    using second = new FrontEnd(server.socketPath);
    await second.dropped();
  }
  expect(warnings).toHaveLength(3);
});

test("who only connects is no front-end that comes and goes", async () => {
  const events: string[] = [];
  using other = serveVhostUser({
    socketPath: join(directory, "other.sock"),
    device,
    onConnect: () => events.push("connected"),
    onDisconnect: () => events.push("disconnected"),
  });
  new FrontEnd(other.socketPath)[Symbol.dispose]();
  using frontEnd = new FrontEnd(other.socketPath);
  await frontEnd.ask(p.VHOST_USER_GET_FEATURES);
  expect(events).toEqual(["connected"]);
  frontEnd[Symbol.dispose]();
  await until(() => events.length === 2, "the front-end to be gone");
  expect(events).toEqual(["connected", "disconnected"]);
});

test.each<[string, RegExp, (driver: Driver) => void]>([
  [
    "a region beyond the end of its file",
    /has 65536 bytes/,
    ({ frontEnd, memory }) => {
      const table = memory.table(memory.describe({ memory_size: 0x20000n }));
      frontEnd.send(p.VHOST_USER_SET_MEM_TABLE, table, [memory.fd]);
    },
  ],
  [
    "overlapping regions",
    /overlap/,
    ({ frontEnd, memory }) => {
      const table = memory.table(memory.describe(), memory.describe({ userspace_addr: 0x1000n }));
      frontEnd.send(p.VHOST_USER_SET_MEM_TABLE, table, [memory.fd, memory.fd]);
    },
  ],
  [
    "an unaligned region",
    /aligned/,
    ({ frontEnd, memory }) => {
      const table = memory.table(memory.describe({ guest_phys_addr: 0x10010n }));
      frontEnd.send(p.VHOST_USER_SET_MEM_TABLE, table, [memory.fd]);
    },
  ],
  [
    "a region that ends beyond 2^53",
    /2\^53/,
    ({ frontEnd, memory }) => {
      const table = memory.table(memory.describe({ guest_phys_addr: 0xffff_ffff_ffff_0000n }));
      frontEnd.send(p.VHOST_USER_SET_MEM_TABLE, table, [memory.fd]);
    },
  ],
  [
    "an unaligned offset in the file",
    /aligned/,
    ({ frontEnd, memory }) => {
      const table = memory.table(memory.describe({ mmap_offset: 0x10n, memory_size: 0x1000n }));
      frontEnd.send(p.VHOST_USER_SET_MEM_TABLE, table, [memory.fd]);
    },
  ],
  [
    "a region that starts beyond the end of its file",
    /the region ends at/,
    ({ frontEnd, memory }) => {
      const region = memory.describe({ mmap_offset: 0x1_0000_0000n, memory_size: 0x1000n });
      frontEnd.send(p.VHOST_USER_SET_MEM_TABLE, memory.table(region), [memory.fd]);
    },
  ],
  [
    "an offset that wraps with the region's length",
    /2\^53/,
    ({ frontEnd, memory }) => {
      const region = memory.describe({ mmap_offset: 0xffff_ffff_ffff_f000n });
      frontEnd.send(p.VHOST_USER_SET_MEM_TABLE, memory.table(region), [memory.fd]);
    },
  ],
  [
    "addresses of its own that wrap",
    /2\^53/,
    ({ frontEnd, memory }) => {
      const region = memory.describe({ userspace_addr: 0xffff_ffff_ffff_f000n });
      frontEnd.send(p.VHOST_USER_SET_MEM_TABLE, memory.table(region), [memory.fd]);
    },
  ],
  [
    "an empty region",
    /is empty/,
    ({ frontEnd, memory }) => {
      const table = memory.table(memory.describe({ memory_size: 0n }));
      frontEnd.send(p.VHOST_USER_SET_MEM_TABLE, table, [memory.fd]);
    },
  ],
  [
    "more regions than it announces",
    /1 regions with 1 files in 72 bytes/,
    ({ frontEnd, memory }) => {
      const table = memory.table(memory.describe(), memory.describe());
      table.writeUInt32LE(1, 0);
      frontEnd.send(p.VHOST_USER_SET_MEM_TABLE, table, [memory.fd]);
    },
  ],
  [
    "four billion regions",
    /4294967295 regions/,
    ({ frontEnd, memory }) => {
      const table = memory.table(memory.describe());
      table.writeUInt32LE(0xffff_ffff, 0);
      frontEnd.send(p.VHOST_USER_SET_MEM_TABLE, table, [memory.fd]);
    },
  ],
  [
    "two doorbells at once",
    /2 file descriptors, at most 1/,
    ({ frontEnd, kicks }) => {
      frontEnd.send(
        p.VHOST_USER_SET_VRING_KICK,
        u64(0),
        kicks.map(({ fd }) => fd),
      );
    },
  ],
  [
    "no doorbell where one belongs",
    /without the file descriptor/,
    ({ frontEnd }) => {
      frontEnd.send(p.VHOST_USER_SET_VRING_KICK, u64(0));
    },
  ],
  [
    "fewer files than regions",
    /1 regions with 0 files/,
    ({ frontEnd, memory }) => {
      frontEnd.send(p.VHOST_USER_SET_MEM_TABLE, memory.table(memory.describe()));
    },
  ],
  [
    "memory that is no file",
    /has 0 bytes/,
    ({ frontEnd, memory, kicks }) => {
      const fds = kicks.slice(0, 1).map(({ fd }) => fd);
      frontEnd.send(p.VHOST_USER_SET_MEM_TABLE, memory.table(memory.describe()), fds);
    },
  ],
  [
    "a doorbell that is no eventfd",
    /not an eventfd/,
    ({ frontEnd, memory }) => {
      frontEnd.send(p.VHOST_USER_SET_VRING_KICK, u64(0), [memory.fd]);
    },
  ],
  [
    "a ring that does not exist",
    /no ring 2/,
    ({ frontEnd }) => {
      frontEnd.send(p.VHOST_USER_SET_VRING_NUM, vringState(2, 8));
    },
  ],
  [
    "a ring size that is no power of two",
    /power of two/,
    ({ frontEnd }) => {
      frontEnd.send(p.VHOST_USER_SET_VRING_NUM, vringState(0, 7));
    },
  ],
  [
    "a feature that was not offered",
    /not offered/,
    ({ frontEnd }) => {
      frontEnd.send(p.VHOST_USER_SET_FEATURES, u64(1n << 63n));
    },
  ],
  [
    "dirty page logging",
    /request 6 is unknown/,
    ({ frontEnd, memory }) => {
      frontEnd.send(p.VHOST_USER_SET_LOG_BASE, Buffer.alloc(16), [memory.fd]);
    },
  ],
  [
    "a descriptor where none belongs",
    /1 file descriptors, at most 0/,
    ({ frontEnd, memory }) => {
      frontEnd.send(p.VHOST_USER_SET_OWNER, Buffer.alloc(0), [memory.fd]);
    },
  ],
  [
    "payload of a wrong size",
    /7 bytes of payload, expected 8/,
    ({ frontEnd }) => {
      frontEnd.send(p.VHOST_USER_SET_FEATURES, Buffer.alloc(7));
    },
  ],
  [
    "configuration that is out of bounds",
    /at most 256/,
    ({ frontEnd }) => {
      const request = Buffer.alloc(p.configHeader.size + 1);
      p.configHeader.encode({ offset: 0xffff_ffff, size: 1, flags: 0 }, request);
      frontEnd.send(p.VHOST_USER_GET_CONFIG, request);
    },
  ],
])("a front-end with %s is dropped and the reason logged", async (_, reason, act) => {
  using driver = new Driver();
  act(driver);
  await driver.frontEnd.dropped();
  expect(warnings.join()).toMatch(reason);
  // The next one is served.
  using next = new Driver();
  await next.start();
  expect(await next.reverse("next")).toBe("txen");
});

test("a request that fails is acknowledged as failed before the front-end is dropped", async () => {
  using driver = new Driver();
  const features = await driver.frontEnd.ask(p.VHOST_USER_GET_PROTOCOL_FEATURES);
  driver.frontEnd.send(p.VHOST_USER_SET_PROTOCOL_FEATURES, features);
  expect(await driver.frontEnd.acknowledged(p.VHOST_USER_SET_VRING_NUM, vringState(0, 3))).toBe(1n);
  await driver.frontEnd.dropped();
});

test("a device keeps its state, and every request is answered once, in whatever order rings stop and start", async () => {
  const step = fc.record({
    act: fc.constantFrom("stop", "start", "request", "request", "disable", "enable", "memory"),
    index: fc.nat({ max: 1 }),
  });
  const outcome = fc.array(step, { maxLength: 25 });
  await fc.assert(
    fc.asyncProperty(outcome, async (steps) => {
      device.activations = 0;
      device.resets = 0;
      using driver = new Driver();
      await driver.start([0, 1]);
      for (const index of [0, 1]) await driver.reverse("hello", index);
      const rings = [0, 1].map(() => ({ base: -1, enabled: true, offered: 1 }));
      const running = (index: number) => rings[index]?.base === -1 && rings[index].enabled;
      for (const { act, index } of steps) {
        const ring = rings[index];
        if (ring === undefined) continue;
        const { frontEnd, memory } = driver;
        if (act === "stop" && ring.base === -1) {
          ring.base = await driver.stopRing(index);
          expect(ring.base).toBe(memory.usedIndex(index));
        } else if (act === "start" && ring.base !== -1) {
          driver.startRing(index, ring.base);
          ring.base = -1;
        } else if (act === "disable" || act === "enable") {
          ring.enabled = act === "enable";
          const state = vringState(index, ring.enabled ? 1 : 0);
          await frontEnd.acknowledged(p.VHOST_USER_SET_VRING_ENABLE, state);
        } else if (act === "memory") {
          const table = memory.table(memory.describe());
          await frontEnd.acknowledged(p.VHOST_USER_SET_MEM_TABLE, table, [memory.fd]);
        } else if (
          act === "request" &&
          (running(index) || memory.usedIndex(index) === ring.offered)
        ) {
          // One at a time: the test's driver has a single buffer for each ring.
          memory.offer(index, Buffer.from(`${ring.offered++}`.padStart(4, "-")), 4);
          if (ring.base === -1) driver.kicks[index]?.signal();
        }
        if (running(index)) {
          await until(
            () => memory.usedIndex(index) === ring.offered,
            "the requests to be answered",
          );
        }
      }
      for (const [index, ring] of rings.entries()) {
        if (ring.base !== -1) driver.startRing(index, ring.base);
        driver.frontEnd.send(p.VHOST_USER_SET_VRING_ENABLE, vringState(index, 1));
        await until(() => driver.memory.usedIndex(index) === ring.offered, "all to be answered");
        const last =
          ring.offered === 1
            ? "olleh"
            : [...`${ring.offered - 1}`.padStart(4, "-")].reverse().join("");
        expect(driver.memory.answer(index, last.length).toString()).toBe(last);
      }
      expect(device).toMatchObject({ activations: 1, resets: 0 });
      driver.frontEnd[Symbol.dispose]();
      await until(() => device.context === undefined, "the front-end's end to be seen");
    }),
    { numRuns: runs(100) },
  );
}, 60_000);

test("no requests, payloads or descriptors of a front-end leak a descriptor or end the process", async () => {
  const request = fc.record({
    request: fc.oneof(fc.constantFrom(...p.requestShapes.keys()), fc.nat({ max: 50 })),
    flags: fc.constantFrom(1, 1, 1, 9, 0, 5),
    /** Most are of the right length, so that they get past the first check. */
    length: fc.option(fc.nat({ max: 64 })),
    payload: fc.oneof(
      fc.uint8Array({ minLength: 300, maxLength: 300 }),
      fc.constant(new Uint8Array(300)),
    ),
    fds: fc.array(fc.nat({ max: 2 }), { maxLength: 3 }),
    cut: fc.option(fc.nat({ max: 20 }), { freq: 10 }),
  });
  using event = new EventFd();
  using memory = new SharedMemory();
  const other = openSync("/dev/null", "r");
  const files = [event.fd, memory.fd, other];
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 12 }), async (requests) => {
      const before = openDescriptors().length;
      using frontEnd = new FrontEnd(server.socketPath);
      // Answered, so the connection is accepted, and its descriptors are among those to be closed.
      await frontEnd.ask(p.VHOST_USER_GET_FEATURES);
      try {
        for (const { request, flags, length, payload, fds, cut } of requests) {
          const size = length ?? p.requestShapes.get(request)?.minimum ?? 8;
          const bytes = Buffer.alloc(p.messageHeader.size + size);
          p.messageHeader.encode({ request, flags, size }, bytes);
          bytes.set(payload.subarray(0, size), p.messageHeader.size);
          const sent = cut === null ? bytes : bytes.subarray(0, Math.max(1, cut));
          frontEnd.socket.send(
            sent,
            fds.flatMap((i) => files[i] ?? []),
          );
        }
      } catch {
        // The back-end hung up already.
      }
      frontEnd[Symbol.dispose]();
      await until(() => openDescriptors().length === before, "all descriptors to be closed");
    }),
    { numRuns: runs(300) },
  );
  new EventFd(other).close();
  using driver = new Driver();
  await driver.start();
  expect(await driver.reverse("still here")).toBe("ereh llits");
});

test("a socket path that is taken or too long is an error that names it", () => {
  const again = () => serveVhostUser({ socketPath: server.socketPath, device });
  expect(again).toThrow(/cannot listen for vhost-user front-ends: bind .*device\.sock: EADDRINUSE/);
  const long = join(directory, "x".repeat(120));
  expect(() => serveVhostUser({ socketPath: long, device })).toThrow(/107 bytes/);
});
