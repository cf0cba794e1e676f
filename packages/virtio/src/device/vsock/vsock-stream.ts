import { Duplex } from "node:stream";
import { VirtioError } from "../../error.js";
import type { DescriptorChain } from "../../queue/descriptor-chain.js";
import { ReceiveCredit, SendCredit } from "./credit.js";
import type { PacketHeader } from "./packet-header.js";
import { ReceiveBuffer } from "./receive-buffer.js";
import {
  VIRTIO_VSOCK_OP_CREDIT_REQUEST,
  VIRTIO_VSOCK_OP_CREDIT_UPDATE,
  VIRTIO_VSOCK_OP_REQUEST,
  VIRTIO_VSOCK_OP_RESPONSE,
  VIRTIO_VSOCK_OP_RST,
  VIRTIO_VSOCK_OP_RW,
  VIRTIO_VSOCK_OP_SHUTDOWN,
  VIRTIO_VSOCK_SHUTDOWN_BOTH,
  VIRTIO_VSOCK_SHUTDOWN_RCV,
  VIRTIO_VSOCK_SHUTDOWN_SEND,
  VIRTIO_VSOCK_TYPE_STREAM,
  VMADDR_CID_HOST,
  virtioVsockHdr,
} from "./vsock-layout.js";

/** What a stream needs of the device that carries it. */
export interface VsockCarrier {
  readonly guestCid: number;
  /** The stream has a packet to send. */
  schedule(stream: VsockStream): void;
  /** The connection is over; the stream may still hold bytes for its reader. */
  release(stream: VsockStream): void;
}

type State =
  /** REQUEST is queued or sent, and not answered. */
  | "connecting"
  | "connected"
  /** We told the guest that we are done both ways, and wait for its RST. */
  | "closing"
  | "closed";

/** Our receive buffer of a connection, in bytes: what the guest may send ahead. As in Linux. */
export const RECEIVE_BUFFER_SIZE = 256 << 10;
/** Payload of one packet at most, in bytes; also what is read before the guest hears of the free room. */
const MAX_PAYLOAD = 64 << 10;
const WRITABLE_HIGH_WATER_MARK = 256 << 10;
/** How long the guest's RST is awaited before its port pair may be used again; as in Linux. */
const CLOSE_TIMEOUT_MS = 8000;

/**
 * The host's end of a stream connection over virtio-vsock. An ordinary `Duplex` with back-pressure both
 * ways; `end()` closes one direction only (the guest reads end-of-file and may go on sending), `destroy()`
 * closes both. Errors carry the codes of {@link VirtioError}. Unlike with other streams, an 'error' that
 * nobody listens for is dropped ('close' follows, and `errored` keeps it): it is the guest who causes it.
 */
export class VsockStream extends Duplex {
  /** The port on the host's side. */
  readonly localPort: number;
  /** The port on the guest's side. */
  readonly remotePort: number;
  readonly #carrier: VsockCarrier;
  #state: State;

  /** Operations to send, one bit each (`1 << op`). */
  #pending = 0;
  #shutdownFlags = 0;

  readonly #sendCredit = new SendCredit();
  readonly #receiveCredit = new ReceiveCredit(RECEIVE_BUFFER_SIZE, MAX_PAYLOAD);

  #outgoing: Uint8Array[] = [];
  #written: ((error?: Error | null) => void) | undefined;
  readonly #incoming = new ReceiveBuffer();
  #wanted = false;
  #deliveryScheduled = false;
  /** SHUTDOWN flags that the guest sent. */
  #peerShutdown = 0;
  #endPushed = false;
  #closeTimer: NodeJS.Timeout | undefined;
  #onConnect: ((error?: Error) => void) | undefined;

  private constructor(
    carrier: VsockCarrier,
    localPort: number,
    remotePort: number,
    state: State,
    operation: number,
  ) {
    super({ writableHighWaterMark: WRITABLE_HIGH_WATER_MARK, allowHalfOpen: true });
    this.#carrier = carrier;
    this.localPort = localPort;
    this.remotePort = remotePort;
    this.#state = state;
    this.#pending = 1 << operation;
    // A guest must not end this process by resetting a connection that nobody watches yet.
    this.on("error", () => {});
  }

  /** A connection that the host asks for; `onConnect` hears once how that went. */
  static connect(
    carrier: VsockCarrier,
    localPort: number,
    remotePort: number,
    onConnect: (error?: Error) => void,
  ): VsockStream {
    const stream = new VsockStream(
      carrier,
      localPort,
      remotePort,
      "connecting",
      VIRTIO_VSOCK_OP_REQUEST,
    );
    stream.#onConnect = onConnect;
    return stream;
  }

  /** A connection that the guest asked for with `request`. */
  static accept(carrier: VsockCarrier, request: PacketHeader): VsockStream {
    const stream = new VsockStream(
      carrier,
      request.destinationPort,
      request.sourcePort,
      "connected",
      VIRTIO_VSOCK_OP_RESPONSE,
    );
    stream.#updatePeerCredit(request);
    return stream;
  }

  /** Whether `fill` has a packet to send now. */
  get hasPacket(): boolean {
    return this.#nextOperation() !== 0;
  }

  /** Writes the next packet into a chain with room for more than a header; answers its length. */
  fill(chain: DescriptorChain, header: PacketHeader): number {
    const operation = this.#nextOperation();
    this.#pending &= ~(1 << operation);
    let payload = 0;
    if (operation === VIRTIO_VSOCK_OP_RW) payload = this.#fillPayload(chain);
    const flags = operation === VIRTIO_VSOCK_OP_SHUTDOWN ? this.#shutdownFlags : 0;
    header.setAddresses(VMADDR_CID_HOST, this.localPort, this.#carrier.guestCid, this.remotePort);
    header.setOperation(VIRTIO_VSOCK_TYPE_STREAM, operation, flags, payload);
    this.#receiveCredit.advertise(header);
    this.#pending &= ~(1 << VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    chain.write(0, header.bytes);
    if (operation === VIRTIO_VSOCK_OP_RST) this.#release();
    return virtioVsockHdr.size + payload;
  }

  /** Takes a packet of this connection; its payload is in `chain` behind the header. */
  receive(header: PacketHeader, chain: DescriptorChain): void {
    if (this.#state === "closed") return;
    this.#updatePeerCredit(header);
    switch (header.operation) {
      case VIRTIO_VSOCK_OP_RESPONSE:
        this.#receiveResponse();
        break;
      case VIRTIO_VSOCK_OP_RW:
        this.#receiveData(header.length, chain);
        break;
      case VIRTIO_VSOCK_OP_SHUTDOWN:
        this.#receiveShutdown(header.flags & VIRTIO_VSOCK_SHUTDOWN_BOTH);
        break;
      case VIRTIO_VSOCK_OP_RST:
        this.#receiveReset();
        break;
      case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
        break;
      case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        this.#pending |= 1 << VIRTIO_VSOCK_OP_CREDIT_UPDATE;
        break;
      default:
        this.#abort(`an invalid operation ${header.operation}`);
    }
    if (this.hasPacket) this.#carrier.schedule(this);
  }

  /** Ends the connection without telling the guest: there is no transport to it any more. */
  abandon(reason: Error): void {
    this.#release();
    this.#pending = 0;
    this.#settleConnect(reason);
    this.destroy(reason);
  }

  override _read(): void {
    this.#wanted = true;
    this.#deliver();
  }

  override _write(
    chunk: Uint8Array,
    _encoding: BufferEncoding,
    callback: (error?: Error | null) => void,
  ): void {
    this.#send([chunk], callback);
  }

  override _writev(
    chunks: readonly { readonly chunk: Uint8Array }[],
    callback: (error?: Error | null) => void,
  ): void {
    this.#send(
      chunks.map(({ chunk }) => chunk),
      callback,
    );
  }

  override _final(callback: (error?: Error | null) => void): void {
    if (this.#state === "connected") this.#shutdown(VIRTIO_VSOCK_SHUTDOWN_SEND);
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const isClean = error === null && this.#outgoing.length === 0;
    this.#outgoing = [];
    this.#incoming.clear();
    this.#written = undefined;
    if (this.#state === "connected" && isClean) {
      this.#state = "closing";
      this.#shutdown(VIRTIO_VSOCK_SHUTDOWN_BOTH);
      this.#closeTimer = setTimeout(() => this.#release(), CLOSE_TIMEOUT_MS).unref();
    } else if (this.#state === "connecting" || this.#state === "connected") {
      this.#sendReset();
    }
    this.#settleConnect(error ?? new VirtioError("ERR_VIRTIO_VSOCK_ABORTED", "destroyed"));
    callback(error);
  }

  /** The next packet's operation, 0 for none. Every packet tells our credit, so an update comes last. */
  #nextOperation(): number {
    const pending = this.#pending;
    if (pending === 0 && this.#outgoing.length === 0) return 0;
    const isPending = (operation: number) => (pending & (1 << operation)) !== 0;
    if (isPending(VIRTIO_VSOCK_OP_RST)) return VIRTIO_VSOCK_OP_RST;
    if (isPending(VIRTIO_VSOCK_OP_REQUEST)) return VIRTIO_VSOCK_OP_REQUEST;
    if (isPending(VIRTIO_VSOCK_OP_RESPONSE)) return VIRTIO_VSOCK_OP_RESPONSE;
    if (this.#outgoing.length > 0 && this.#sendCredit.available > 0) return VIRTIO_VSOCK_OP_RW;
    if (isPending(VIRTIO_VSOCK_OP_SHUTDOWN) && this.#outgoing.length === 0) {
      return VIRTIO_VSOCK_OP_SHUTDOWN;
    }
    if (isPending(VIRTIO_VSOCK_OP_CREDIT_REQUEST)) return VIRTIO_VSOCK_OP_CREDIT_REQUEST;
    if (isPending(VIRTIO_VSOCK_OP_CREDIT_UPDATE)) return VIRTIO_VSOCK_OP_CREDIT_UPDATE;
    return 0;
  }

  #updatePeerCredit(header: PacketHeader): void {
    this.#sendCredit.update(header);
    if (this.#sendCredit.available > 0) this.#pending &= ~(1 << VIRTIO_VSOCK_OP_CREDIT_REQUEST);
  }

  #send(chunks: Uint8Array[], callback: (error?: Error | null) => void): void {
    if (this.#state === "closed" || this.#peerShutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) {
      this.#refuseWrite(callback);
      return;
    }
    this.#outgoing = chunks.filter(({ length }) => length > 0);
    if (this.#outgoing.length === 0) {
      callback();
      return;
    }
    this.#written = callback;
    this.#askForCredit();
    this.#carrier.schedule(this);
  }

  #askForCredit(): void {
    const isStalled = this.#outgoing.length > 0 && this.#sendCredit.available === 0;
    if (isStalled && this.#state === "connected") {
      this.#pending |= 1 << VIRTIO_VSOCK_OP_CREDIT_REQUEST;
    }
  }

  /** Copies what the chain, the guest's credit and the packet size allow; answers the bytes. */
  #fillPayload(chain: DescriptorChain): number {
    const room = chain.writableLength - virtioVsockHdr.size;
    const limit = Math.min(room, this.#sendCredit.available, MAX_PAYLOAD);
    let payload = 0;
    let consumed = 0;
    for (const [index, chunk] of this.#outgoing.entries()) {
      const count = Math.min(chunk.length, limit - payload);
      chain.write(
        virtioVsockHdr.size + payload,
        count === chunk.length ? chunk : chunk.subarray(0, count),
      );
      payload += count;
      if (count < chunk.length) {
        this.#outgoing[index] = chunk.subarray(count);
        break;
      }
      consumed += 1;
    }
    this.#outgoing.splice(0, consumed);
    this.#sendCredit.spend(payload);
    this.#askForCredit();
    const written = this.#written;
    if (this.#outgoing.length === 0 && written !== undefined) {
      this.#written = undefined;
      // Not from here: the callback runs the writer's code, which must not run inside the device.
      process.nextTick(written);
    }
    return payload;
  }

  /**
   * The guest reads no more. The bytes it sent before come first: the error, which ends the stream, waits
   * until they are read.
   */
  #refuseWrite(callback: (error?: Error | null) => void): void {
    const refuse = () =>
      callback(
        new VirtioError(
          "ERR_VIRTIO_VSOCK_PEER_SHUTDOWN",
          `write to vsock port ${this.remotePort}: the guest has closed its end`,
        ),
      );
    if (this.readableEnded || (this.#peerShutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) === 0) {
      process.nextTick(refuse);
    } else {
      this.once("end", refuse);
    }
  }

  #receiveResponse(): void {
    if (this.#state !== "connecting") {
      this.#abort("an answer to no request");
      return;
    }
    this.#state = "connected";
    this.#settleConnect();
  }

  #receiveData(length: number, chain: DescriptorChain): void {
    if (this.#state === "closing") return;
    const { available } = this.#receiveCredit;
    if (this.#state !== "connected" || this.#peerShutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) {
      this.#abort("data outside of an open connection");
    } else if (length > available) {
      this.#abort(`${length} bytes where ${available} were allowed`);
    } else if (length > 0) {
      chain.read(virtioVsockHdr.size, this.#incoming.append(length));
      this.#receiveCredit.receive(length);
      this.#scheduleDelivery();
    }
  }

  #receiveShutdown(flags: number): void {
    if (this.#state === "connecting") {
      this.#abort("SHUTDOWN before the connection was open");
      return;
    }
    this.#peerShutdown |= flags;
    if (flags & VIRTIO_VSOCK_SHUTDOWN_RCV) {
      this.#outgoing = [];
      const written = this.#written;
      this.#written = undefined;
      if (written !== undefined) this.#refuseWrite(written);
    }
    if (this.#peerShutdown === VIRTIO_VSOCK_SHUTDOWN_BOTH) {
      // Section 5.10.6.6: RST tells the guest that we saw it. What we hold can still be read.
      this.#sendReset();
      if (!this.destroyed) this.once("end", () => this.destroy());
    }
    this.#scheduleDelivery();
  }

  #receiveReset(): void {
    const { remotePort } = this;
    const wasConnecting = this.#state === "connecting";
    const wasClosing = this.#state === "closing";
    this.#pending = 0;
    this.#release();
    if (wasClosing) return;
    const error = wasConnecting
      ? new VirtioError(
          "ERR_VIRTIO_VSOCK_REFUSED",
          `connect to vsock port ${remotePort}: refused; is the guest's program listening?`,
        )
      : new VirtioError(
          "ERR_VIRTIO_VSOCK_RESET",
          `connection to vsock port ${remotePort}: reset by the guest`,
        );
    this.#settleConnect(error);
    this.destroy(error);
  }

  /** The guest broke the protocol. */
  #abort(detail: string): void {
    this.#sendReset();
    const error = new VirtioError(
      "ERR_VIRTIO_VSOCK_RESET",
      `connection to vsock port ${this.remotePort}: the guest sent ${detail}`,
    );
    this.#settleConnect(error);
    this.destroy(error);
  }

  #settleConnect(error?: Error): void {
    const onConnect = this.#onConnect;
    this.#onConnect = undefined;
    onConnect?.(error);
  }

  #shutdown(flags: number): void {
    this.#shutdownFlags |= flags;
    this.#pending |= 1 << VIRTIO_VSOCK_OP_SHUTDOWN;
    this.#carrier.schedule(this);
  }

  /** The RST is all that is left to send; `fill` releases the connection with it. */
  #sendReset(): void {
    this.#state = "closed";
    this.#outgoing = [];
    this.#pending = 1 << VIRTIO_VSOCK_OP_RST;
    this.#carrier.schedule(this);
  }

  #release(): void {
    this.#state = "closed";
    clearTimeout(this.#closeTimer);
    this.#carrier.release(this);
  }

  /** Hands bytes to the reader on a later tick: a 'data' listener must not run inside the device. */
  #scheduleDelivery(): void {
    if (this.#deliveryScheduled) return;
    this.#deliveryScheduled = true;
    process.nextTick(() => {
      this.#deliveryScheduled = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    if (this.destroyed || this.#endPushed) return;
    while (this.#wanted) {
      const chunk = this.#incoming.shift();
      if (chunk === undefined) break;
      this.#receiveCredit.forward(chunk.length);
      this.#wanted = this.push(chunk);
    }
    if (this.#incoming.isEmpty && this.#peerShutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) {
      this.#endPushed = true;
      this.push(null);
    } else if (this.#state === "connected" && this.#receiveCredit.isUpdateDue) {
      this.#pending |= 1 << VIRTIO_VSOCK_OP_CREDIT_UPDATE;
      this.#carrier.schedule(this);
    }
  }
}
