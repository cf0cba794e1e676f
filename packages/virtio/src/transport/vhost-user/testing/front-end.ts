import { ftruncateSync } from "node:fs";
import { createMemoryFile, EventFd, Mapping, UnixSocket } from "@supermachine-internal/libc";
import { until } from "@supermachine-internal/testing";
import {
  availableRingSize,
  usedRingSize,
  VRING_DESC_F_NEXT,
  VRING_DESC_F_WRITE,
  vringAvail,
  vringDesc,
  vringUsed,
  vringUsedElem,
} from "../../../queue/ring-layout.js";
import * as p from "../protocol.js";

export function u64(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

export function vringState(index: number, num: number): Buffer {
  const bytes = Buffer.alloc(p.vringState.size);
  p.vringState.encode({ index, num }, bytes);
  return bytes;
}

/** The other side of the socket, as far as a test needs it: sends requests and waits for replies. */
export class FrontEnd implements Disposable {
  readonly socket: UnixSocket;
  #received = Buffer.alloc(0);
  #hungUp = false;

  constructor(socketPath: string) {
    this.socket = UnixSocket.connect(socketPath);
  }

  send(request: number, payload: Uint8Array = Buffer.alloc(0), fds: readonly number[] = []): void {
    this.#send(request, p.VHOST_USER_VERSION, payload, fds);
  }

  /** Sends a request and waits until it is done (REPLY_ACK); gives what the back-end says, 0 for success. */
  async acknowledged(request: number, payload: Uint8Array, fds: readonly number[] = []) {
    this.#send(request, p.VHOST_USER_VERSION | p.VHOST_USER_NEED_REPLY_MASK, payload, fds);
    return (await this.reply(request)).readBigUInt64LE();
  }

  /** Sends a request that has an answer, and gives the answer's payload. */
  async ask(request: number, payload: Uint8Array = Buffer.alloc(0)): Promise<Buffer> {
    this.send(request, payload);
    return await this.reply(request);
  }

  async reply(request: number): Promise<Buffer> {
    const header = p.messageHeader;
    await until(() => {
      this.#receive();
      const have = this.#received.length;
      return have >= header.size && have >= header.size + header.decode(this.#received).size;
    }, `the reply to request ${request}`);
    const { request: answered, flags, size } = header.decode(this.#received);
    if (answered !== request || flags !== (p.VHOST_USER_VERSION | p.VHOST_USER_REPLY_MASK)) {
      throw new Error(`unexpected message ${answered} with flags ${flags}`);
    }
    const payload = Buffer.from(this.#received.subarray(header.size, header.size + size));
    this.#received = this.#received.subarray(header.size + size);
    return payload;
  }

  /** Waits until the back-end has dropped this front-end. */
  async dropped(): Promise<void> {
    await until(() => {
      this.#receive();
      return this.#hungUp;
    }, "the back-end to hang up");
  }

  #send(request: number, flags: number, payload: Uint8Array, fds: readonly number[]): void {
    const bytes = Buffer.alloc(p.messageHeader.size + payload.length);
    p.messageHeader.encode({ request, flags, size: payload.length }, bytes);
    bytes.set(payload, p.messageHeader.size);
    this.socket.send(bytes, fds);
  }

  #receive(): void {
    const bytes = Buffer.alloc(4096);
    try {
      for (;;) {
        const length = this.socket.receive(bytes, []);
        if (length === undefined) return;
        if (length === 0) break;
        this.#received = Buffer.concat([this.#received, bytes.subarray(0, length)]);
      }
    } catch {
      // ECONNRESET: it hung up on bytes that it had not read.
    }
    this.#hungUp = true;
  }

  [Symbol.dispose](): void {
    this.socket.close();
  }
}

/** Guest memory of one region at guest address 0x10000, with one ring of 8 descriptors per index. */
export class SharedMemory implements Disposable {
  static readonly guestAddress = 0x10000;
  static readonly userAddress = 0x7f00_0000_0000;
  static readonly ringSize = 8;
  readonly length = 0x10000;
  readonly fd: number;
  readonly bytes: Uint8Array;
  readonly data: DataView;
  readonly #mapping: Mapping;
  readonly #availableIndex = new Map<number, number>();

  constructor() {
    this.fd = createMemoryFile("guest");
    ftruncateSync(this.fd, this.length);
    this.#mapping = Mapping.file(this.fd, this.length, 0, { shared: true });
    this.bytes = new Uint8Array(this.#mapping.view());
    this.data = new DataView(this.#mapping.view());
  }

  describe(change: Partial<Parameters<typeof p.memoryRegion.encode>[0]> = {}): Buffer {
    const bytes = Buffer.alloc(p.memoryRegion.size);
    const region = {
      guest_phys_addr: BigInt(SharedMemory.guestAddress),
      memory_size: BigInt(this.length),
      userspace_addr: BigInt(SharedMemory.userAddress),
      mmap_offset: 0n,
      ...change,
    };
    p.memoryRegion.encode(region, bytes);
    return bytes;
  }

  table(...regions: Buffer[]): Buffer {
    const header = Buffer.alloc(p.memoryTableHeader.size);
    p.memoryTableHeader.encode({ nregions: regions.length, padding: 0 }, header);
    return Buffer.concat([header, ...regions]);
  }

  /** Offsets of a ring's parts in this memory. */
  ring(index: number): { table: number; available: number; used: number } {
    const table = index * 0x1000;
    const available = table + vringDesc.size * SharedMemory.ringSize;
    return {
      table,
      available,
      used: (available + availableRingSize(SharedMemory.ringSize) + 3) & ~3,
    };
  }

  ringAddress(index: number, change: { flags?: number; desc_user_addr?: bigint } = {}): Buffer {
    const { table, available, used } = this.ring(index);
    const bytes = Buffer.alloc(p.vringAddress.size);
    const at = (offset: number) => BigInt(SharedMemory.userAddress + offset);
    p.vringAddress.encode(
      {
        index,
        flags: 0,
        desc_user_addr: at(table),
        avail_user_addr: at(available),
        used_user_addr: at(used),
        log_guest_addr: 0n,
        ...change,
      },
      bytes,
    );
    return bytes;
  }

  /** Makes a request available: the bytes of `readable`, then room for `writableLength` bytes. */
  offer(index: number, readable: Uint8Array, writableLength: number): void {
    const { table, available } = this.ring(index);
    const next = this.#availableIndex.get(index) ?? 0;
    const dataAt = 0x8000 + index * 0x1000;
    this.bytes.set(readable, dataAt);
    this.#descriptor(table, 0, dataAt, readable.length, VRING_DESC_F_NEXT);
    this.#descriptor(table, 1, dataAt + readable.length, writableLength, VRING_DESC_F_WRITE);
    const slot = available + vringAvail.size + 2 * (next % SharedMemory.ringSize);
    this.data.setUint16(slot, 0, true);
    this.data.setUint16(available + vringAvail.offsets.idx, (next + 1) & 0xffff, true);
    this.#availableIndex.set(index, (next + 1) & 0xffff);
  }

  /** What a new driver does before it starts a ring. */
  clearRing(index: number): void {
    const { table, used } = this.ring(index);
    this.bytes.fill(0, table, used + usedRingSize(SharedMemory.ringSize));
    this.#availableIndex.delete(index);
  }

  usedIndex(index: number): number {
    return this.data.getUint16(this.ring(index).used + vringUsed.offsets.idx, true);
  }

  /** The bytes that the device wrote for the last request it handed back. */
  answer(index: number, readableLength: number): Buffer {
    const slot = (this.usedIndex(index) - 1) % SharedMemory.ringSize;
    const at = this.ring(index).used + vringUsed.size + slot * vringUsedElem.size;
    const length = this.data.getUint32(at + vringUsedElem.offsets.len, true);
    const start = 0x8000 + index * 0x1000 + readableLength;
    return Buffer.from(this.bytes.slice(start, start + length));
  }

  #descriptor(table: number, i: number, offset: number, length: number, flags: number): void {
    vringDesc.encode(
      { addr: BigInt(SharedMemory.guestAddress + offset), len: length, flags, next: i + 1 },
      this.bytes,
      table + i * vringDesc.size,
    );
  }

  [Symbol.dispose](): void {
    this.#mapping.close();
    new EventFd(this.fd).close();
  }
}
