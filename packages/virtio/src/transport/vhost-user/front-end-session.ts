import { UnixSocket, type Watch, watchReadable } from "@supermachine-internal/libc";
import type { VirtioDevice } from "../../device/device.js";
import { TRANSPORT_FEATURES } from "../../feature.js";
import { MAX_QUEUE_SIZE } from "../../queue/ring-layout.js";
import { DeviceRunner } from "./device-runner.js";
import { VhostUserError } from "./error.js";
import { decodeMemoryRegion, MAX_MEMORY_REGIONS, type MemoryRegion } from "./memory-table.js";
import { MessageReader, type VhostUserMessage } from "./message.js";
import * as p from "./protocol.js";
import type { Vring } from "./vring.js";

/**
 * Without VHOST_USER_PROTOCOL_F_STATUS: a front-end that has it may send status 0, a reset, where it only stops the virtual
 * machine for a while, and the device's state would be lost.
 */
const PROTOCOL_FEATURES = [
  p.VHOST_USER_PROTOCOL_F_MQ,
  p.VHOST_USER_PROTOCOL_F_REPLY_ACK,
  p.VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  p.VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  p.VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
].reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n);

const F_CONFIG = 1n << BigInt(p.VHOST_USER_PROTOCOL_F_CONFIG);

const F_PROTOCOL_FEATURES = 1n << BigInt(p.VHOST_USER_F_PROTOCOL_FEATURES);
const REQUESTS_PER_TURN = 64;

function refuse(reason: string): VhostUserError {
  return new VhostUserError("ERR_VIRTIO_VHOST_USER_STATE", reason);
}

function u64(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** How a session ended: the front-end hung up, or the fault for which it was dropped. */
export type SessionEnd = VhostUserError | Error | undefined;

/** One connected front-end: serves its requests in order until it hangs up or breaks the protocol. */
export class FrontEndSession implements Disposable {
  readonly #socket: UnixSocket;
  readonly #device: VirtioDevice;
  readonly #reader: MessageReader;
  readonly #runner: DeviceRunner;
  readonly #warn: (message: string) => void;
  readonly #onEnd: (reason: SessionEnd) => void;
  readonly #onFirstRequest: () => void;
  #asked = false;
  #watch: Watch | undefined;
  #requests: UnixSocket | undefined;
  readonly #offeredProtocolFeatures: bigint;
  #protocolFeatures = 0n;
  /** Without protocol features a ring cannot be disabled, so it starts enabled. */
  #ringsStartEnabled = true;
  #open = true;

  /** Takes ownership of `socket`. `onEnd` is called once, unless the session is disposed of first. */
  constructor(
    socket: UnixSocket,
    device: VirtioDevice,
    onEnd: (reason: SessionEnd) => void,
    warn: (message: string) => void,
    offerConfig: boolean,
    onFirstRequest: () => void,
  ) {
    this.#onFirstRequest = onFirstRequest;
    this.#offeredProtocolFeatures = PROTOCOL_FEATURES | (offerConfig ? F_CONFIG : 0n);
    this.#socket = socket;
    this.#device = device;
    this.#reader = new MessageReader(socket);
    this.#runner = new DeviceRunner(device, this.#announceConfigChange, warn);
    this.#warn = warn;
    this.#onEnd = onEnd;
    this.#listen();
  }

  /** Whether it has asked for anything yet. */
  get asked(): boolean {
    return this.#asked;
  }

  #listen(): void {
    this.#watch = watchReadable(this.#socket.fd, () => this.poll());
  }

  /** Looks at once for requests, or for the front-end having hung up. */
  poll(): void {
    if (this.#watch === undefined) return;
    // A request may have to wait for the device; until it is done, the next one is not looked at.
    this.#watch.close();
    this.#watch = undefined;
    void this.#serveRequests();
  }

  async #serveRequests(): Promise<void> {
    try {
      // A front-end that floods must not keep this thread from everything else.
      for (let served = 0; this.#open && served < REQUESTS_PER_TURN; served++) {
        const message = this.#reader.next();
        if (message === undefined) break;
        if (message === "end") {
          this.#end(undefined);
          return;
        }
        if (!this.#asked) this.#onFirstRequest();
        this.#asked = true;
        await this.#serve(message);
      }
      if (this.#open) this.#listen();
    } catch (error) {
      this.#end(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #end(reason: SessionEnd): void {
    if (!this.#open) return;
    this[Symbol.dispose]();
    this.#onEnd(reason);
  }

  async #serve(message: VhostUserMessage): Promise<void> {
    try {
      const reply = await this.#handle(message);
      if (!this.#open) return;
      if (reply !== undefined) this.#reply(message, reply);
      else if (this.#acknowledges(message)) this.#reply(message, u64(0));
    } catch (error) {
      if (this.#open && this.#acknowledges(message)) this.#reply(message, u64(1));
      if (error instanceof VhostUserError) {
        throw new VhostUserError(error.code, `${message.shape.name}: ${error.message}`, {
          cause: error,
        });
      }
      throw error;
    } finally {
      message[Symbol.dispose]();
    }
  }

  #acknowledges(message: VhostUserMessage): boolean {
    return message.needsAcknowledgement && this.#negotiated(p.VHOST_USER_PROTOCOL_F_REPLY_ACK);
  }

  #negotiated(protocolFeature: number): boolean {
    return (this.#protocolFeatures & (1n << BigInt(protocolFeature))) !== 0n;
  }

  #reply(message: VhostUserMessage, payload: Uint8Array): void {
    const bytes = Buffer.alloc(p.messageHeader.size + payload.length);
    const flags = p.VHOST_USER_VERSION | p.VHOST_USER_REPLY_MASK;
    p.messageHeader.encode({ request: message.request, flags, size: payload.length }, bytes);
    bytes.set(payload, p.messageHeader.size);
    if (this.#socket.send(bytes) !== bytes.length) {
      throw refuse(`the front-end does not read its replies (${message.shape.name})`);
    }
  }

  /** Does what a request asks; gives the payload of its reply, if it has one of its own. */
  #handle(message: VhostUserMessage): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    const { payload } = message;
    switch (message.request) {
      case p.VHOST_USER_GET_FEATURES:
        return u64(this.#offeredFeatures);
      case p.VHOST_USER_SET_FEATURES:
        return this.#setFeatures(message.u64);
      case p.VHOST_USER_GET_PROTOCOL_FEATURES:
        return u64(this.#offeredProtocolFeatures);
      case p.VHOST_USER_SET_PROTOCOL_FEATURES:
        if (message.u64 & ~this.#offeredProtocolFeatures) throw refuse("a feature was not offered");
        this.#protocolFeatures = message.u64;
        return undefined;
      case p.VHOST_USER_SET_OWNER:
        return undefined;
      case p.VHOST_USER_RESET_OWNER:
      case p.VHOST_USER_RESET_DEVICE:
        this.#runner.reset();
        return undefined;
      case p.VHOST_USER_GET_QUEUE_NUM:
        return u64(this.#runner.rings.length);
      case p.VHOST_USER_GET_MAX_MEM_SLOTS:
        return u64(MAX_MEMORY_REGIONS);
      case p.VHOST_USER_SET_MEM_TABLE:
        return this.#setMemoryTable(message);
      case p.VHOST_USER_ADD_MEM_REG: {
        const region = decodeMemoryRegion(payload, p.singleRegionHeader.size);
        this.#runner.addMemory(region, this.#requireFd(message));
        return undefined;
      }
      case p.VHOST_USER_REM_MEM_REG:
        return this.#runner
          .removeMemory(decodeMemoryRegion(payload, p.singleRegionHeader.size))
          .then(() => undefined);
      case p.VHOST_USER_GET_CONFIG:
        return this.#getConfig(payload);
      case p.VHOST_USER_SET_CONFIG:
        return this.#setConfig(payload);
      case p.VHOST_USER_SET_BACKEND_REQ_FD: {
        const channel = new UnixSocket(this.#requireFd(message));
        this.#requests?.close();
        this.#requests = channel;
        return undefined;
      }
      case p.VHOST_USER_SET_VRING_KICK: {
        const ring = this.#ringOf(message);
        if (this.#ringsStartEnabled) ring.enabled = true;
        this.#runner.startRing(ring, this.#requireFd(message));
        return undefined;
      }
      case p.VHOST_USER_SET_VRING_CALL:
        this.#ringOf(message).setCall(this.#optionalFd(message));
        return undefined;
      case p.VHOST_USER_SET_VRING_ERR:
        this.#ringOf(message).setError(this.#optionalFd(message));
        return undefined;
      default:
        return this.#handleRing(message);
    }
  }

  /** Requests whose payload starts with the index of a ring as a u32. */
  #handleRing(message: VhostUserMessage): undefined | Promise<Uint8Array> {
    const { payload } = message;
    const { index, num } = p.vringState.decode(payload);
    const ring = this.#ring(index);
    switch (message.request) {
      case p.VHOST_USER_SET_VRING_NUM:
        this.#requireStopped(ring);
        if (num === 0 || num > MAX_QUEUE_SIZE || (num & (num - 1)) !== 0) {
          throw refuse(`ring ${index} of ${num} descriptors: it takes a power of two to 32768`);
        }
        ring.size = num;
        return undefined;
      case p.VHOST_USER_SET_VRING_BASE:
        this.#requireStopped(ring);
        if (num > 0xffff) throw refuse(`ring ${index}: base ${num} is not that of a split ring`);
        ring.base = num;
        return undefined;
      case p.VHOST_USER_SET_VRING_ADDR: {
        this.#requireStopped(ring);
        const address = p.vringAddress.decode(payload);
        if (address.flags !== 0) throw refuse("dirty page logging was not offered");
        ring.addresses = {
          descriptorTable: address.desc_user_addr,
          availableRing: address.avail_user_addr,
          usedRing: address.used_user_addr,
        };
        return undefined;
      }
      case p.VHOST_USER_SET_VRING_ENABLE:
        this.#runner.enable(ring, num !== 0);
        return undefined;
      case p.VHOST_USER_GET_VRING_BASE:
        return this.#stopRing(ring);
      default:
        throw refuse("not implemented");
    }
  }

  get #offeredFeatures(): bigint {
    return this.#device.features | TRANSPORT_FEATURES | F_PROTOCOL_FEATURES;
  }

  #setFeatures(features: bigint): undefined {
    if (features & ~this.#offeredFeatures) {
      throw refuse(
        `feature bits 0x${(features & ~this.#offeredFeatures).toString(16)} were not offered`,
      );
    }
    this.#ringsStartEnabled = (features & F_PROTOCOL_FEATURES) === 0n;
    this.#runner.features = features & ~F_PROTOCOL_FEATURES;
    return undefined;
  }

  async #setMemoryTable(message: VhostUserMessage): Promise<undefined> {
    const { payload } = message;
    const { nregions } = p.memoryTableHeader.decode(payload);
    const expected = p.memoryTableHeader.size + nregions * p.memoryRegion.size;
    if (payload.length !== expected || message.fdCount !== nregions) {
      throw refuse(
        `${nregions} regions with ${message.fdCount} files in ${payload.length} bytes of payload`,
      );
    }
    const regions: MemoryRegion[] = [];
    for (let i = 0; i < nregions; i++) {
      const at = p.memoryTableHeader.size + i * p.memoryRegion.size;
      regions.push(decodeMemoryRegion(payload, at));
    }
    await this.#runner.replaceMemory(regions, () => this.#requireFd(message));
    return undefined;
  }

  async #stopRing(ring: Vring): Promise<Uint8Array> {
    await this.#runner.stopRing(ring);
    const reply = Buffer.alloc(p.vringState.size);
    p.vringState.encode({ index: ring.index, num: ring.base }, reply);
    return reply;
  }

  #configRange(payload: Buffer): { offset: number; size: number } {
    const { offset, size } = p.configHeader.decode(payload);
    if (payload.length !== p.configHeader.size + size) {
      throw refuse(`${size} bytes of configuration in a payload of ${payload.length}`);
    }
    if (offset + size > p.VHOST_USER_MAX_CONFIG_SIZE) {
      throw refuse(`configuration bytes ${offset} to ${offset + size}: there are at most 256`);
    }
    return { offset, size };
  }

  #getConfig(payload: Buffer): Uint8Array {
    const { offset, size } = this.#configRange(payload);
    const reply = Buffer.from(payload);
    // What the device does not have reads as zero.
    reply.fill(0, p.configHeader.size);
    reply.set(this.#device.config.subarray(offset, offset + size), p.configHeader.size);
    return reply;
  }

  #setConfig(payload: Buffer): undefined {
    const { offset } = this.#configRange(payload);
    this.#device.writeConfig?.(offset, payload.subarray(p.configHeader.size));
    return undefined;
  }

  #ring(index: number): Vring {
    const ring = this.#runner.rings[index];
    if (ring === undefined) {
      throw refuse(`there is no ring ${index}: the device has ${this.#runner.rings.length}`);
    }
    return ring;
  }

  #requireStopped(ring: Vring): void {
    if (ring.running) throw refuse(`ring ${ring.index} is running`);
  }

  #ringOf(message: VhostUserMessage): Vring {
    return this.#ring(Number(message.u64 & BigInt(p.VHOST_USER_VRING_IDX_MASK)));
  }

  #requireFd(message: VhostUserMessage): number {
    const fd = message.takeFd();
    if (fd === undefined) throw refuse("it came without the file descriptor it needs");
    return fd;
  }

  #optionalFd(message: VhostUserMessage): number | undefined {
    const announced = (message.u64 & BigInt(p.VHOST_USER_VRING_NOFD_MASK)) === 0n;
    if (announced !== (message.fdCount === 1)) {
      throw refuse("whether a file descriptor comes with it is contradictory");
    }
    return message.takeFd();
  }

  readonly #announceConfigChange = (): void => {
    if (this.#requests === undefined || !this.#open) return;
    const bytes = Buffer.alloc(p.messageHeader.size);
    const flags = p.VHOST_USER_VERSION;
    const request = p.VHOST_USER_BACKEND_CONFIG_CHANGE_MSG;
    p.messageHeader.encode({ request, flags, size: 0 }, bytes);
    try {
      this.#requests.send(bytes);
    } catch (error) {
      this.#warn(`the front-end does not hear of a configuration change: ${String(error)}`);
    }
  };

  /** Drops the front-end and everything it handed over. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#watch?.close();
    this.#reader[Symbol.dispose]();
    this.#runner[Symbol.dispose]();
    this.#requests?.close();
    this.#socket.close();
  }
}
