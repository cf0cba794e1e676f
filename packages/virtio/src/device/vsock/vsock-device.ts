import { VirtioError } from "../../error.js";
import type { DescriptorChain } from "../../queue/descriptor-chain.js";
import type { Virtqueue } from "../../queue/virtqueue.js";
import type { DeviceContext, VirtioDevice } from "../device.js";
import { QueueService } from "../queue-service.js";
import { ConnectionTable } from "./connection-table.js";
import { PacketHeader } from "./packet-header.js";
import {
  VIRTIO_ID_VSOCK,
  VIRTIO_VSOCK_EVENT_TRANSPORT_RESET,
  VIRTIO_VSOCK_OP_REQUEST,
  VIRTIO_VSOCK_OP_RST,
  VIRTIO_VSOCK_TYPE_STREAM,
  VMADDR_CID_HOST,
  virtioVsockConfig,
  virtioVsockEvent,
  virtioVsockHdr,
} from "./vsock-layout.js";
import { VsockStream } from "./vsock-stream.js";

export interface VsockOptions {
  /** The guest's context id, 3 to 2^32 - 2; default 3. */
  readonly guestCid?: number;
  /** Open connections at most, of either origin; default 256. Each may hold 256 KiB that nobody read. */
  readonly maxConnections?: number;
}

export interface VsockConnectOptions {
  /** How long the guest may take to answer, also while it boots; default 10000 ms. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

const RECEIVE_QUEUE = 0;
const TRANSMIT_QUEUE = 1;
const EVENT_QUEUE = 2;
const QUEUE_SIZE = 256;
/** RSTs waiting for room in the receive queue; with this many, the guest's packets have to wait. */
const MAX_REPLIES = 256;
/** Packets sent before the event loop gets its turn. */
const BATCH = 256;
const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_MAX_CONNECTIONS = 256;
const FIRST_EPHEMERAL_PORT = 49152;
const LAST_EPHEMERAL_PORT = 2 ** 31 - 1;
const MAX_PORT = 0xffff_fffe;

/** An RST owed to a guest that sent a packet of no connection. */
interface Reply {
  readonly localPort: number;
  readonly remotePort: number;
  readonly type: number;
}

/**
 * Socket device (virtio 1.2, section 5.10): stream connections between this process and programs in
 * the guest, which reach it at context id 2. Ports of the host exist only inside this device.
 */
export class VsockDevice implements VirtioDevice {
  readonly deviceId = VIRTIO_ID_VSOCK;
  readonly features = 0n;
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE];
  readonly config = new Uint8Array(virtioVsockConfig.size);
  /** The guest's context id. */
  readonly guestCid: number;
  readonly #maxConnections: number;
  readonly #connections = new ConnectionTable();
  readonly #listeners = new Map<number, (stream: VsockStream) => void>();
  /** Streams with something to send, in the order of their turns. */
  readonly #ready = new Set<VsockStream>();
  readonly #replies: Reply[] = [];
  readonly #header = new PacketHeader();
  #receive: Virtqueue | undefined;
  #transmit: QueueService | undefined;
  #events: Virtqueue | undefined;
  #fail: ((reason: Error) => void) | undefined;
  #sendScheduled: NodeJS.Immediate | undefined;
  #resetEventOwed = false;
  #nextPort = FIRST_EPHEMERAL_PORT;
  #closed = false;

  /** @throws VirtioError `ERR_VIRTIO_DEVICE_OPTIONS` for a context id out of range. */
  constructor(options: VsockOptions = {}) {
    this.guestCid = options.guestCid ?? 3;
    this.#maxConnections = options.maxConnections ?? DEFAULT_MAX_CONNECTIONS;
    if (!Number.isInteger(this.guestCid) || this.guestCid < 3 || this.guestCid > MAX_PORT) {
      throw new VirtioError(
        "ERR_VIRTIO_DEVICE_OPTIONS",
        `vsock guest context id ${this.guestCid}: must be 3 to ${MAX_PORT}`,
      );
    }
    virtioVsockConfig.encode({ guest_cid: BigInt(this.guestCid) }, this.config);
  }

  /** Open connections. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /**
   * Connects to a program that listens on `port` in the guest. Before the guest's driver is up the
   * request waits for it.
   *
   * @returns rejects with VirtioError `ERR_VIRTIO_VSOCK_REFUSED`, `_TIMEOUT`, `_RESET`, `_ABORTED` (the
   * signal's reason is the cause), `_TOO_MANY_CONNECTIONS`, or `ERR_VIRTIO_CLOSED`.
   */
  connect(port: number, options: VsockConnectOptions = {}): Promise<VsockStream> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
    return new Promise((resolve, reject) => {
      checkPort(port);
      const problem = this.#refusal(port, signal);
      if (problem !== undefined) {
        reject(problem);
        return;
      }
      const stream = VsockStream.connect(this, this.#takePort(), port, (error) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        if (error === undefined) resolve(stream);
        else reject(error);
      });
      const onAbort = () => stream.destroy(aborted(port, signal));
      const timer = setTimeout(() => {
        stream.destroy(
          new VirtioError(
            "ERR_VIRTIO_VSOCK_TIMEOUT",
            `connect to vsock port ${port}: no answer in ${timeoutMs} ms`,
          ),
        );
      }, timeoutMs);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#connections.add(stream);
      this.schedule(stream);
    });
  }

  /**
   * Accepts connections that the guest makes to `port` of context id 2. Dispose the result to stop
   * listening; connections go on.
   *
   * @throws VirtioError `ERR_VIRTIO_VSOCK_PORT_IN_USE`
   */
  listen(port: number, onConnection: (stream: VsockStream) => void): Disposable {
    checkPort(port);
    if (this.#listeners.has(port)) {
      throw new VirtioError("ERR_VIRTIO_VSOCK_PORT_IN_USE", `vsock port ${port} has a listener`);
    }
    this.#listeners.set(port, onConnection);
    return {
      [Symbol.dispose]: () => {
        if (this.#listeners.get(port) === onConnection) this.#listeners.delete(port);
      },
    };
  }

  /**
   * Tells the guest that all its connections are gone, as they are after a restore from a snapshot;
   * its listening sockets stay (section 5.10.6.8). Connections of this side end with an error.
   */
  resetTransport(): void {
    this.#dropConnections("the transport was reset");
    this.#resetEventOwed = true;
    this.#sendResetEvent();
  }

  /** In the restored guest's memory connections are open that nobody here knows of. */
  restoreState(): void {
    this.#resetEventOwed = true;
  }

  activate({ queues, fail }: DeviceContext): void {
    this.#receive = queues[RECEIVE_QUEUE];
    this.#events = queues[EVENT_QUEUE];
    this.#fail = fail;
    const transmit = queues[TRANSMIT_QUEUE];
    if (transmit === undefined) return;
    const serve = (chain: DescriptorChain) => this.#serveTransmit(transmit, chain);
    this.#transmit = new QueueService(transmit, { serve, fail });
  }

  notify(queueIndex: number): void {
    if (queueIndex === RECEIVE_QUEUE) this.#send();
    else if (queueIndex === TRANSMIT_QUEUE) this.#transmit?.run();
    else this.#sendResetEvent();
  }

  reset(): void {
    const wasActive = this.#receive !== undefined;
    this.#transmit?.stop();
    clearImmediate(this.#sendScheduled);
    this.#sendScheduled = undefined;
    this.#receive = undefined;
    this.#transmit = undefined;
    this.#events = undefined;
    this.#fail = undefined;
    this.#resetEventOwed = false;
    // A driver resets the device before it uses it first: requests that wait for that go on waiting.
    if (wasActive) this.#dropConnections("the guest reset its vsock device");
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listeners.clear();
    this.#dropConnections("the device was closed");
    this.reset();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** For the streams: `stream` has a packet to send. */
  schedule(stream: VsockStream): void {
    if (!stream.hasPacket) return;
    this.#ready.add(stream);
    this.#sendSoon();
  }

  /** For the streams: the connection is over. */
  release(stream: VsockStream): void {
    this.#connections.delete(stream);
    this.#ready.delete(stream);
  }

  #refusal(port: number, signal: AbortSignal | undefined): VirtioError | undefined {
    const what = `connect to vsock port ${port}`;
    if (this.#closed) return new VirtioError("ERR_VIRTIO_CLOSED", `${what}: the device is closed`);
    if (signal?.aborted) return aborted(port, signal);
    if (this.#connections.size < this.#maxConnections) return undefined;
    return new VirtioError(
      "ERR_VIRTIO_VSOCK_TOO_MANY_CONNECTIONS",
      `${what}: ${this.#maxConnections} connections are open; raise maxConnections or close some`,
    );
  }

  #takePort(): number {
    while (this.#connections.hasLocalPort(this.#nextPort) || this.#listeners.has(this.#nextPort)) {
      this.#advancePort();
    }
    const port = this.#nextPort;
    this.#advancePort();
    return port;
  }

  #advancePort(): void {
    this.#nextPort += 1;
    if (this.#nextPort > LAST_EPHEMERAL_PORT) this.#nextPort = FIRST_EPHEMERAL_PORT;
  }

  #serveTransmit(queue: Virtqueue, chain: DescriptorChain): boolean {
    if (this.#replies.length >= MAX_REPLIES) return false;
    const header = this.#header;
    const isWhole =
      chain.read(0, header.bytes) === virtioVsockHdr.size &&
      header.length <= chain.readableLength - virtioVsockHdr.size;
    // Nobody to answer: section 5.10.6.2 says what an honest guest has here.
    if (isWhole && header.sourceCid === this.guestCid) this.#route(header, chain);
    queue.addUsed(chain, 0);
    return true;
  }

  #route(header: PacketHeader, chain: DescriptorChain): void {
    const { destinationPort: localPort, sourcePort: remotePort, type, operation } = header;
    const isForUs = header.destinationCid === VMADDR_CID_HOST && type === VIRTIO_VSOCK_TYPE_STREAM;
    const stream = isForUs ? this.#connections.get(localPort, remotePort) : undefined;
    if (stream !== undefined) {
      stream.receive(header, chain);
      return;
    }
    if (operation === VIRTIO_VSOCK_OP_RST) return;
    const onConnection = isForUs ? this.#listeners.get(localPort) : undefined;
    if (
      operation !== VIRTIO_VSOCK_OP_REQUEST ||
      onConnection === undefined ||
      this.#connections.size >= this.#maxConnections
    ) {
      this.#replies.push({ localPort, remotePort, type });
      this.#sendSoon();
      return;
    }
    const accepted = VsockStream.accept(this, header);
    this.#connections.add(accepted);
    this.schedule(accepted);
    process.nextTick(onConnection, accepted);
  }

  /** Sends on a later turn, so that what is written at once goes out together. */
  #sendSoon(): void {
    if (this.#receive === undefined || this.#sendScheduled !== undefined) return;
    this.#sendScheduled = setImmediate(() => {
      this.#sendScheduled = undefined;
      this.#send();
    });
  }

  /** Moves packets into the receive queue while there are both. */
  #send(): void {
    const queue = this.#receive;
    if (queue === undefined) return;
    let sent = 0;
    do {
      queue.disableNotifications();
      while (sent < BATCH && this.#hasPacket()) {
        const chain = queue.pop();
        if (chain === undefined) break;
        if (chain.writableLength <= virtioVsockHdr.size) {
          queue.addUsed(chain, 0);
          this.#fail?.(
            new VirtioError(
              "ERR_VIRTIO_MALFORMED_REQUEST",
              `vsock receive buffer of ${chain.writableLength} bytes: has no room for a packet`,
            ),
          );
          return;
        }
        queue.addUsed(chain, this.#fill(chain));
        sent += 1;
      }
      queue.notifyUsed();
      if (sent === BATCH) {
        this.#sendSoon();
        return;
      }
    } while (queue.enableNotifications() && this.#hasPacket());
    // Packets of the guest may have waited for their answers to find room.
    if (sent > 0 && this.#transmit?.queue.hasAvailable()) this.#transmit.run();
  }

  #hasPacket(): boolean {
    if (this.#replies.length > 0) return true;
    for (const stream of this.#ready) {
      if (stream.hasPacket) return true;
      this.#ready.delete(stream);
    }
    return false;
  }

  /** Writes the next packet; streams take turns. */
  #fill(chain: DescriptorChain): number {
    const reply = this.#replies.shift();
    const header = this.#header;
    if (reply !== undefined) {
      header.setAddresses(VMADDR_CID_HOST, reply.localPort, this.guestCid, reply.remotePort);
      header.setOperation(reply.type, VIRTIO_VSOCK_OP_RST, 0, 0);
      header.setCredit(0, 0);
      return chain.write(0, header.bytes);
    }
    for (const stream of this.#ready) {
      this.#ready.delete(stream);
      if (!stream.hasPacket) continue;
      const length = stream.fill(chain, header);
      if (stream.hasPacket) this.#ready.add(stream);
      return length;
    }
    return 0;
  }

  #sendResetEvent(): void {
    const queue = this.#events;
    if (!this.#resetEventOwed || queue === undefined) return;
    const event = new Uint8Array(virtioVsockEvent.size);
    virtioVsockEvent.encode({ id: VIRTIO_VSOCK_EVENT_TRANSPORT_RESET }, event);
    let chain = queue.pop();
    // No buffer: the doorbell of the next one comes back here.
    if (chain === undefined && queue.enableNotifications()) chain = queue.pop();
    if (chain === undefined) return;
    queue.addUsed(chain, chain.write(0, event));
    queue.notifyUsed();
    this.#resetEventOwed = false;
  }

  #dropConnections(why: string): void {
    this.#replies.length = 0;
    for (const stream of this.#connections.all()) {
      stream.abandon(
        new VirtioError(
          this.#closed ? "ERR_VIRTIO_CLOSED" : "ERR_VIRTIO_VSOCK_RESET",
          `connection to vsock port ${stream.remotePort}: ${why}`,
        ),
      );
    }
    this.#ready.clear();
  }
}

function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 0 || port > MAX_PORT) {
    throw new RangeError(`vsock port ${port}: must be 0 to ${MAX_PORT}`);
  }
}

function aborted(port: number, signal: AbortSignal | undefined): VirtioError {
  return new VirtioError("ERR_VIRTIO_VSOCK_ABORTED", `connect to vsock port ${port}: aborted`, {
    cause: signal?.reason,
  });
}
