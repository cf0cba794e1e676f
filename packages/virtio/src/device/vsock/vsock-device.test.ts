import { buffer, text } from "node:stream/consumers";
import { setImmediate as turn } from "node:timers/promises";
import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { MmioDriver } from "../../testing/mmio-driver.js";
import { PacketHeader } from "./packet-header.js";
import { VsockDevice, type VsockOptions } from "./vsock-device.js";
import {
  VIRTIO_VSOCK_OP_CREDIT_REQUEST as CREDIT_REQUEST,
  VIRTIO_VSOCK_OP_CREDIT_UPDATE as CREDIT_UPDATE,
  VIRTIO_VSOCK_OP_REQUEST as REQUEST,
  VIRTIO_VSOCK_OP_RESPONSE as RESPONSE,
  VIRTIO_VSOCK_OP_RST as RST,
  VIRTIO_VSOCK_OP_RW as RW,
  VIRTIO_VSOCK_OP_SHUTDOWN as SHUTDOWN,
  virtioVsockConfig,
  virtioVsockHdr,
} from "./vsock-layout.js";
import { RECEIVE_BUFFER_SIZE, type VsockStream } from "./vsock-stream.js";

const [RX, TX, EVENTS] = [0, 1, 2] as const;
const GUEST_PORT = 7000;
const HOST_PORT = 1234;

interface Packet {
  readonly op: number;
  readonly flags: number;
  readonly hostPort: number;
  readonly guestPort: number;
  readonly credit: number;
  readonly forwarded: number;
  readonly payload: Buffer;
}

/** A guest's vsock driver as far as packets go: what it sends is up to the test. */
class Guest {
  readonly driver: MmioDriver;
  readonly received: Packet[] = [];
  bufferSize = 64 << 10;
  forwarded = 0;
  #rxSize = 4096 + virtioVsockHdr.size;

  constructor(device: VsockDevice, rxSize?: number) {
    this.driver = new MmioDriver(device, { memorySize: 64 << 20 });
    if (rxSize !== undefined) this.#rxSize = rxSize;
  }

  start(): this {
    this.driver.start();
    this.refill();
    return this;
  }

  /** Posts receive buffers until the queue is half full. */
  refill(): void {
    const queue = this.driver.queue(RX);
    while (queue.free > queue.size / 2) queue.submit([], [this.#rxSize]);
    this.driver.notify(RX);
  }

  send(
    op: number,
    options: {
      readonly hostPort?: number;
      readonly guestPort?: number;
      readonly payload?: Uint8Array;
      readonly flags?: number;
      readonly length?: number;
      readonly type?: number;
      readonly sourceCid?: number;
      readonly cid?: number;
    } = {},
  ): void {
    const { payload = new Uint8Array(0), guestPort = GUEST_PORT, hostPort = HOST_PORT } = options;
    const header = new PacketHeader();
    header.setAddresses(options.sourceCid ?? 3, guestPort, options.cid ?? 2, hostPort);
    const length = options.length ?? payload.length;
    header.setOperation(options.type ?? 1, op, options.flags ?? 0, length);
    header.setCredit(this.bufferSize, this.forwarded);
    const parts = payload.length > 0 ? [header.bytes, payload] : [header.bytes];
    this.driver.queue(TX).submit(parts);
    this.driver.notify(TX);
    this.driver.queue(TX).collect();
  }

  /** Takes what arrived, posting new buffers. */
  collect(): void {
    for (const { data } of this.driver.queue(RX).collect()) {
      const header = new PacketHeader();
      header.bytes.set(data.subarray(0, virtioVsockHdr.size));
      expect([header.sourceCid, header.destinationCid, header.type]).toEqual([2, 3, 1]);
      expect(header.length).toBe(data.length - virtioVsockHdr.size);
      this.received.push({
        op: header.operation,
        flags: header.flags,
        hostPort: header.sourcePort,
        guestPort: header.destinationPort,
        credit: header.bufferSize,
        forwarded: header.forwarded,
        payload: Buffer.from(data.subarray(virtioVsockHdr.size)),
      });
    }
    this.refill();
  }

  /** The next packet. Fails when none comes. */
  async next(op: number): Promise<Packet> {
    for (let round = 0; round < 200; round++) {
      const packet = this.received.shift();
      if (packet !== undefined) {
        expect(packet.op).toBe(op);
        return packet;
      }
      await turn();
      this.collect();
    }
    throw new Error(`no packet came, operation ${op} was expected`);
  }

  async expectSilence(): Promise<void> {
    for (let round = 0; round < 5; round++) await turn();
    this.collect();
    expect(this.received).toEqual([]);
  }
}

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function setUp(options: VsockOptions & { rxSize?: number } = {}) {
  const device = new VsockDevice(options);
  const guest = new Guest(device, options.rxSize);
  cleanups.push(() => guest.driver.close());
  return { device, guest };
}

/** A connection that the guest made. */
async function accepted(options: VsockOptions & { rxSize?: number } = {}) {
  const { device, guest } = setUp(options);
  guest.start();
  const connection = new Promise<VsockStream>((resolve) => device.listen(HOST_PORT, resolve));
  guest.send(REQUEST);
  const stream = await connection;
  const response = await guest.next(RESPONSE);
  return { device, guest, stream, response };
}

/** Unlike `once(stream, "close")`, does not reject when the stream ends with an error. */
const closeOf = (stream: VsockStream) => new Promise((resolve) => stream.once("close", resolve));

const code = (value: string) => expect.objectContaining({ code: value });

describe("connecting", () => {
  test("the guest's context id is in the configuration", () => {
    const { guest } = setUp({ guestCid: 42 });
    expect(virtioVsockConfig.decode(guest.driver.readConfig(0, 8))).toEqual({ guest_cid: 42n });
    expect(() => new VsockDevice({ guestCid: 2 })).toThrow(code("ERR_VIRTIO_DEVICE_OPTIONS"));
  });

  test("the guest connects to a listener and hears of the receive buffer", async () => {
    const { stream, response } = await accepted();
    expect(response).toMatchObject({
      hostPort: HOST_PORT,
      guestPort: GUEST_PORT,
      credit: RECEIVE_BUFFER_SIZE,
      forwarded: 0,
    });
    expect([stream.localPort, stream.remotePort]).toEqual([HOST_PORT, GUEST_PORT]);
  });

  test("a port without listener answers RST, also after the listener went", async () => {
    const { device, guest } = setUp();
    guest.start();
    guest.send(REQUEST);
    await guest.next(RST);
    device.listen(HOST_PORT, () => {})[Symbol.dispose]();
    guest.send(REQUEST);
    await guest.next(RST);
    expect(device.connectionCount).toBe(0);
  });

  test("a port has one listener", () => {
    const { device } = setUp();
    device.listen(1, () => {});
    expect(() => device.listen(1, () => {})).toThrow(code("ERR_VIRTIO_VSOCK_PORT_IN_USE"));
    expect(() => device.listen(-1, () => {})).toThrow(RangeError);
  });

  test("the host connects, also before the guest's driver is up", async () => {
    const { device, guest } = setUp();
    const connecting = device.connect(GUEST_PORT);
    await turn();
    guest.start();
    const { hostPort, guestPort } = await guest.next(REQUEST);
    expect(guestPort).toBe(GUEST_PORT);
    guest.send(RESPONSE, { hostPort });
    const stream = await connecting;
    stream.write("hi");
    expect((await guest.next(RW)).payload.toString()).toBe("hi");
  });

  test("RST refuses a connect", async () => {
    const { device, guest } = setUp();
    guest.start();
    const connecting = device.connect(GUEST_PORT);
    const { hostPort } = await guest.next(REQUEST);
    guest.send(RST, { hostPort });
    await expect(connecting).rejects.toThrow(code("ERR_VIRTIO_VSOCK_REFUSED"));
    expect(device.connectionCount).toBe(0);
  });

  test("a connect that times out or is aborted tells the guest with RST", async () => {
    const { device, guest } = setUp();
    guest.start();
    await expect(device.connect(GUEST_PORT, { timeoutMs: 5 })).rejects.toThrow(
      code("ERR_VIRTIO_VSOCK_TIMEOUT"),
    );
    guest.collect();
    expect(guest.received.splice(0).map(({ op }) => op)).toEqual([REQUEST]);
    await guest.next(RST);
    const controller = new AbortController();
    const connecting = device.connect(GUEST_PORT, { signal: controller.signal });
    await guest.next(REQUEST);
    controller.abort(new Error("enough"));
    await expect(connecting).rejects.toMatchObject({
      code: "ERR_VIRTIO_VSOCK_ABORTED",
      cause: { message: "enough" },
    });
    await guest.next(RST);
    await expect(device.connect(1, { signal: controller.signal })).rejects.toThrow(
      code("ERR_VIRTIO_VSOCK_ABORTED"),
    );
    expect(device.connectionCount).toBe(0);
  });

  test("connections are bounded, for both sides", async () => {
    const { device, guest } = await accepted({ maxConnections: 1 });
    guest.send(REQUEST, { guestPort: 7001 });
    expect(await guest.next(RST)).toMatchObject({ guestPort: 7001 });
    await expect(device.connect(1)).rejects.toThrow(code("ERR_VIRTIO_VSOCK_TOO_MANY_CONNECTIONS"));
  });

  test("closing the device ends connects and connections", async () => {
    const { device, stream } = await accepted();
    const connecting = device.connect(1);
    const closed = closeOf(stream);
    device.close();
    await expect(connecting).rejects.toThrow(code("ERR_VIRTIO_CLOSED"));
    await closed;
    expect(stream.errored).toMatchObject({ code: "ERR_VIRTIO_CLOSED" });
    await expect(device.connect(1)).rejects.toThrow(code("ERR_VIRTIO_CLOSED"));
  });
});

describe("data", () => {
  test("flows both ways, in order", async () => {
    const { guest, stream } = await accepted();
    guest.send(RW, { payload: Buffer.from("hello ") });
    guest.send(RW, { payload: Buffer.from("host") });
    guest.send(SHUTDOWN, { flags: 2 });
    // Reading with `for await` or `text()` would destroy a Duplex at its end.
    let heard = "";
    stream.on("data", (bytes: Buffer) => {
      heard += bytes.toString();
    });
    await new Promise((resolve) => stream.once("end", resolve));
    expect(heard).toBe("hello host");
    stream.end("hello guest");
    expect((await guest.next(RW)).payload.toString()).toBe("hello guest");
    // Both directions are over now, and so is the connection.
    expect(await guest.next(SHUTDOWN)).toMatchObject({ flags: 3 });
  });

  test("a write larger than the guest's credit waits for it and asks for it once", async () => {
    const { guest, stream } = await accepted();
    const data = Buffer.from(Array.from({ length: 150_000 }, (_, at) => at % 251));
    let finished = false;
    stream.write(data, () => {
      finished = true;
    });
    const got: Buffer[] = [];
    let total = 0;
    while (total < data.length) {
      while (total - guest.forwarded < guest.bufferSize && total < data.length) {
        const { payload } = await guest.next(RW);
        got.push(payload);
        total += payload.length;
        expect(total - guest.forwarded).toBeLessThanOrEqual(guest.bufferSize);
      }
      if (total === data.length) break;
      await guest.next(CREDIT_REQUEST);
      await guest.expectSilence();
      expect(finished).toBe(false);
      guest.forwarded = total;
      guest.send(CREDIT_UPDATE);
    }
    expect(Buffer.concat(got).equals(data)).toBe(true);
    await turn();
    expect(finished).toBe(true);
  });

  test("one packet carries at most 64 KiB, and small writes share a packet", async () => {
    const { guest, stream } = await accepted({ rxSize: 200_000 });
    guest.bufferSize = 1 << 20;
    guest.send(CREDIT_UPDATE);
    stream.write(Buffer.alloc(100_000));
    expect((await guest.next(RW)).payload).toHaveLength(65536);
    expect((await guest.next(RW)).payload).toHaveLength(100_000 - 65536);
    stream.cork();
    for (const word of ["a", "b", "c"]) stream.write(word);
    stream.uncork();
    expect((await guest.next(RW)).payload.toString()).toBe("abc");
  });

  test("a reader that does not read holds the guest at 256 KiB; reading gives credit back", async () => {
    const { guest, stream } = await accepted();
    const payload = Buffer.alloc(64 << 10, 7);
    for (let round = 0; round < 4; round++) guest.send(RW, { payload });
    await guest.expectSilence();
    let total = 0;
    stream.on("data", (bytes: Buffer) => {
      total += bytes.length;
    });
    const { forwarded } = await guest.next(CREDIT_UPDATE);
    expect(forwarded).toBeGreaterThanOrEqual(64 << 10);
    expect(forwarded).toBeLessThanOrEqual(256 << 10);
    await turn();
    expect(total).toBe(256 << 10);
  });

  test("a guest that sends past its credit is reset", async () => {
    const { guest, stream } = await accepted();
    const payload = Buffer.alloc(64 << 10);
    for (let round = 0; round < 4; round++) guest.send(RW, { payload });
    expect(stream.destroyed).toBe(false);
    guest.send(RW, { payload: Uint8Array.of(1) });
    await guest.next(RST);
    expect(stream.errored).toMatchObject({ code: "ERR_VIRTIO_VSOCK_RESET" });
  });

  test("byte-sized packets are kept compactly", async () => {
    const { guest, stream } = await accepted();
    stream.pause();
    for (let round = 0; round < 5000; round++) {
      guest.send(RW, { payload: Uint8Array.of(round & 0xff) });
    }
    guest.send(SHUTDOWN, { flags: 2 });
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    expect(
      Buffer.concat(chunks).equals(Buffer.from(Array.from({ length: 5000 }, (_, at) => at & 0xff))),
    ).toBe(true);
    expect(chunks.length).toBeLessThan(10);
  });

  test("a credit request is answered", async () => {
    const { guest } = await accepted();
    guest.send(CREDIT_REQUEST);
    expect(await guest.next(CREDIT_UPDATE)).toMatchObject({ credit: RECEIVE_BUFFER_SIZE });
  });

  test("a guest that claims to have read what was never sent gets nothing", async () => {
    const { guest, stream } = await accepted();
    guest.forwarded = 1000;
    guest.send(CREDIT_UPDATE);
    stream.write("x");
    await guest.next(CREDIT_REQUEST);
    await guest.expectSilence();
  });

  test("streams take turns", async () => {
    const { device, guest, stream } = await accepted({ rxSize: 1044 });
    const second = new Promise<VsockStream>((resolve) => device.listen(99, resolve));
    guest.send(REQUEST, { hostPort: 99 });
    const other = await second;
    await guest.next(RESPONSE);
    stream.write(Buffer.alloc(10_000));
    other.write(Buffer.alloc(10_000));
    const order: number[] = [];
    for (let round = 0; round < 8; round++) order.push((await guest.next(RW)).hostPort);
    expect(order).toEqual([HOST_PORT, 99, HOST_PORT, 99, HOST_PORT, 99, HOST_PORT, 99]);
  });
});

describe("closing", () => {
  test("end() closes one direction only", async () => {
    const { guest, stream } = await accepted();
    stream.end();
    expect(await guest.next(SHUTDOWN)).toMatchObject({ flags: 2 });
    guest.send(RW, { payload: Buffer.from("still here") });
    guest.send(SHUTDOWN, { flags: 3 });
    expect((await buffer(stream)).toString()).toBe("still here");
    await guest.next(RST);
  });

  test("a guest that closed leaves its bytes to be read, then the stream closes", async () => {
    const { device, guest, stream } = await accepted();
    guest.send(RW, { payload: Buffer.from("last words") });
    guest.send(SHUTDOWN, { flags: 3 });
    await guest.next(RST);
    expect(device.connectionCount).toBe(0);
    expect(await text(stream)).toBe("last words");
    if (!stream.closed) await closeOf(stream);
    expect(stream.errored).toBeNull();
  });

  test("a write to a guest that closed fails, after what it had sent was read", async () => {
    const { guest, stream } = await accepted();
    guest.bufferSize = 0;
    guest.send(RW, { payload: Buffer.from("last words") });
    stream.write("lost");
    await guest.next(CREDIT_REQUEST);
    guest.send(SHUTDOWN, { flags: 3 });
    await turn();
    expect(stream.destroyed).toBe(false);
    const received: string[] = [];
    stream.on("data", (bytes: Buffer) => received.push(bytes.toString()));
    await closeOf(stream);
    expect(received).toEqual(["last words"]);
    expect(stream.errored).toMatchObject({ code: "ERR_VIRTIO_VSOCK_PEER_SHUTDOWN" });
  });

  test("destroy() after all was written is an orderly close, and the guest's RST ends it", async () => {
    const { device, guest, stream } = await accepted();
    stream.destroy();
    expect(await guest.next(SHUTDOWN)).toMatchObject({ flags: 3 });
    expect(device.connectionCount).toBe(1);
    guest.send(RST);
    expect(device.connectionCount).toBe(0);
    await guest.expectSilence();
  });

  test("destroy() with bytes unsent, or with an error, resets", async () => {
    const { guest, stream } = await accepted();
    guest.bufferSize = 0;
    guest.send(CREDIT_UPDATE);
    stream.write("stuck");
    await guest.next(CREDIT_REQUEST);
    stream.destroy();
    await guest.next(RST);
    guest.send(RW, { payload: Buffer.from("?") });
    await guest.next(RST);
  });

  test("RST from the guest is an error on the stream, and none of the process", async () => {
    const { guest, stream } = await accepted();
    guest.send(RST);
    await closeOf(stream);
    expect(stream.errored).toMatchObject({ code: "ERR_VIRTIO_VSOCK_RESET" });
    await guest.expectSilence();
  });

  test("resetTransport drops connections, tells the guest once, and new ones work", async () => {
    const { device, guest, stream } = await accepted();
    device.resetTransport();
    expect(stream.errored).toMatchObject({ code: "ERR_VIRTIO_VSOCK_RESET" });
    expect(guest.driver.queue(EVENTS).collect()).toEqual([]);
    guest.driver.queue(EVENTS).submit([], [4]);
    guest.driver.notify(EVENTS);
    guest.driver.queue(EVENTS).submit([], [4]);
    guest.driver.notify(EVENTS);
    expect(guest.driver.queue(EVENTS).collect()).toMatchObject([
      { data: Uint8Array.of(0, 0, 0, 0) },
    ]);
    guest.send(REQUEST);
    await guest.next(RESPONSE);
  });

  test("a device that goes on from a snapshot tells its guest that connections are gone", async () => {
    const { guest } = await accepted();
    guest.driver.queue(EVENTS).submit([], [4]);
    const state = structuredClone(guest.driver.save());
    const { memory } = guest.driver;
    using restored = new MmioDriver(new VsockDevice(), { memory });
    restored.transport.restore(state);
    expect(guest.driver.queue(EVENTS).collect()).toMatchObject([
      { data: Uint8Array.of(0, 0, 0, 0) },
    ]);
  });

  test("a device reset ends connections; listeners stay for the next driver", async () => {
    const { guest, stream } = await accepted();
    guest.start();
    expect(stream.errored).toMatchObject({ code: "ERR_VIRTIO_VSOCK_RESET" });
    guest.send(REQUEST);
    await guest.next(RESPONSE);
  });
});

describe("a hostile guest", () => {
  test("packets of no connection get RST, but RST never does", async () => {
    const { guest } = setUp();
    guest.start();
    for (const op of [RW, RESPONSE, SHUTDOWN, CREDIT_UPDATE, 99]) {
      guest.send(op, { hostPort: 5, guestPort: 6 });
      expect(await guest.next(RST)).toMatchObject({ hostPort: 5, guestPort: 6 });
    }
    guest.send(RST);
    await guest.expectSilence();
  });

  test("a foreign source, a wrong length and a short header are ignored", async () => {
    const { guest, stream } = await accepted();
    guest.send(RST, { sourceCid: 4 });
    guest.send(RW, { payload: Buffer.from("x"), length: 2 });
    guest.driver.request(TX, [new Uint8Array(43)]);
    guest.driver.request(TX, [], [16]);
    await guest.expectSilence();
    expect(stream.destroyed).toBe(false);
  });

  test("a flood of packets without connection waits for room, without growth", async () => {
    const { guest } = setUp();
    guest.driver.start();
    const tx = guest.driver.queue(TX);
    const header = new PacketHeader();
    header.setAddresses(3, 1, 2, 1);
    header.setOperation(1, RW, 0, 0);
    let taken = 0;
    for (let round = 0; round < 5; round++) {
      while (tx.free > 0) tx.submit([header.bytes]);
      guest.driver.notify(TX);
      await turn();
      taken += tx.collect().length;
    }
    expect(taken).toBe(256);
    guest.refill();
    let answers = 0;
    while (taken + tx.outstanding > answers) {
      await guest.next(RST);
      answers += 1;
      taken += tx.collect().length;
    }
    expect(answers).toBe(512);
  });

  test("receive buffers without room for a packet fail the device", async () => {
    const { guest } = setUp();
    guest.driver.start();
    guest.driver.queue(RX).submit([], [44]);
    guest.driver.notify(RX);
    guest.send(REQUEST);
    await turn();
    await turn();
    expect(guest.driver.failures).toMatchObject([{ code: "ERR_VIRTIO_MALFORMED_REQUEST" }]);
  });

  test("any sequence of packets neither throws nor keeps connections beyond the bound", async () => {
    const packet = fc.record({
      op: fc.oneof(fc.integer({ min: 0, max: 8 }), fc.nat(0xffff)),
      hostPort: fc.integer({ min: 0, max: 3 }),
      guestPort: fc.integer({ min: 0, max: 3 }),
      flags: fc.integer({ min: 0, max: 4 }),
      type: fc.constant(1),
      length: fc.option(fc.nat(0xffff_ffff), { nil: undefined, freq: 10 }),
      payload: fc.uint8Array({ maxLength: 64 }),
      sourceCid: fc.constantFrom(3, 3, 3, 2, 2 ** 52),
      cid: fc.constantFrom(2, 2, 2, 0),
      bufferSize: fc.oneof(fc.nat(1000), fc.nat(0xffff_ffff)),
      forwarded: fc.oneof(fc.nat(1000), fc.nat(0xffff_ffff)),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(packet, { maxLength: 30 }), async (packets) => {
        // Lets timers run, so that a failure that shrinks for long ends with the test's time.
        await turn();
        const { device, guest } = setUp({ maxConnections: 4, rxSize: 256 });
        guest.start();
        device.listen(1, (stream) => stream.resume());
        device.listen(2, (stream) => stream.end("x".repeat(1000)));
        for (const { length, bufferSize, forwarded, ...rest } of packets) {
          guest.bufferSize = bufferSize;
          guest.forwarded = forwarded;
          guest.send(rest.op, length === undefined ? rest : { ...rest, length });
          expect(device.connectionCount).toBeLessThanOrEqual(4);
        }
        await turn();
        guest.collect();
        guest.received.length = 0;
        expect(guest.driver.failures).toEqual([]);
        guest.driver.close();
        expect(device.connectionCount).toBe(0);
      }),
      { numRuns: runs(300) },
    );
  });
});
