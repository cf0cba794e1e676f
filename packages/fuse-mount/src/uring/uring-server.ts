import {
  FUSE_IO_URING_CMD_COMMIT_AND_FETCH,
  FUSE_IO_URING_CMD_REGISTER,
  fuse_in_header,
  fuse_out_header,
  fuse_uring_cmd_req,
  fuse_uring_ent_in_out,
  fuse_uring_req_header,
} from "@supermachine/fuse-protocol";
import type { Session } from "@supermachine/fuse-server";
import {
  addressOf,
  EventFd,
  Mapping,
  SystemCallError,
  type Watch,
} from "@supermachine-internal/libc";
import type { DeviceServer } from "../device-server.js";
import { IORING_OP_POLL_ADD, IORING_OP_URING_CMD, io_uring_sqe } from "./abi.js";
import { IoUring } from "./io-uring.js";

const EINTR = 4;
const EIO = 5;
const ENOTCONN = 107;
const ECONNABORTED = 103;
const POLLIN = 1;

/** Requests of one CPU that can be under way at once; each has memory for the longest. */
const ENTRIES_PER_QUEUE = 8;
/** The `user_data` of the poll for requests that do not come through the ring. */
const DEVICE = 0xffff_ffff;

const header = fuse_uring_req_header.offsets;
const status = fuse_uring_ent_in_out.offsets;
const sqe = io_uring_sqe.offsets;
const command = fuse_uring_cmd_req.offsets;
const PAGE = 4096;

/** Memory that the kernel puts a request into and takes the reply from. */
class RingEntry {
  readonly index: number;
  readonly queue: number;
  /** `struct iovec[2]`: the headers and the payload. */
  readonly iovecs: BigUint64Array;
  readonly view: DataView;
  readonly #input: [Uint8Array, Uint8Array, Uint8Array];
  readonly #output: readonly Uint8Array[];
  /** Views of the operation's struct by its size: made once, not for each request. */
  readonly #operations: (Uint8Array | undefined)[] = [];
  readonly #done: (entry: RingEntry) => void;

  constructor(
    index: number,
    queue: number,
    memory: ArrayBuffer,
    at: number,
    size: number,
    done: (entry: RingEntry) => void,
  ) {
    this.index = index;
    this.queue = queue;
    this.view = new DataView(memory, at, fuse_uring_req_header.size);
    const payload = new Uint8Array(memory, at + PAGE, size - PAGE);
    this.#input = [new Uint8Array(memory, at, fuse_in_header.size), payload, payload];
    this.#output = [new Uint8Array(memory, at, fuse_out_header.size), payload];
    const address = addressOf(this.view);
    this.iovecs = new BigUint64Array([
      address,
      BigInt(fuse_uring_req_header.size),
      address + BigInt(PAGE),
      BigInt(size - PAGE),
    ]);
    this.#done = done;
  }

  #operation(size: number): Uint8Array {
    let view = this.#operations[size];
    if (view === undefined) {
      const { buffer, byteOffset } = this.view;
      view = new Uint8Array(buffer, byteOffset + header.op_in, size);
      this.#operations[size] = view;
    }
    return view;
  }

  /** The request lies in three parts: header, the operation's struct, and what follows that. */
  serve(session: Session): void {
    const total = this.view.getUint32(header.in_out + fuse_in_header.offsets.len, true);
    const payload = this.view.getUint32(header.ring_ent_in_out + status.payload_sz, true);
    const operation = total - fuse_in_header.size - payload;
    this.#input[1] = this.#operation(
      Math.max(0, Math.min(operation, header.ring_ent_in_out - header.op_in)),
    );
    session.handle(this.#input, this.#output, this.#complete);
  }

  readonly #complete = (length: number): void => {
    if (length === 0) {
      // A request that came through the ring always waits for a reply.
      const o = fuse_out_header.offsets;
      this.view.setUint32(header.in_out + o.len, fuse_out_header.size, true);
      this.view.setInt32(header.in_out + o.error, -EIO, true);
    }
    const payload = Math.max(0, length - fuse_out_header.size);
    this.view.setUint32(header.ring_ent_in_out + status.payload_sz, payload, true);
    this.#done(this);
  };
}

/**
 * Serves requests that come through io_uring (`FUSE_OVER_IO_URING`): one system call gives back a reply
 * and waits for the next request, where the device takes two. The kernel has a queue for each CPU; all
 * must be registered by some thread before it begins. FORGET and INTERRUPT still come to the device.
 */
export class UringServer implements Disposable {
  readonly #ring: IoUring;
  /** Tells of completions while this watches; a descriptor of its own, since the ring's own is mapped. */
  readonly #doorbell = new EventFd();
  readonly #entries: RingEntry[] = [];
  readonly #memory: Mapping;
  readonly #session: Session;
  readonly #deviceFd: number;
  readonly #device: DeviceServer | undefined;
  readonly #onEnd: (error: Error | undefined) => void;
  readonly #onCompletion = (userData: number, result: number): void =>
    this.#completed(userData, result);
  #watch: Watch | undefined;
  #shouldStop: () => boolean = () => false;
  /** Entries that the kernel knows. */
  #registered = 0;
  #entered = false;
  #open = true;

  /**
   * @param fd - Of the device; stays the caller's.
   * @param queues - The CPUs whose requests this thread serves.
   * @param maxWrite - Of the session, in bytes.
   * @param device - Where what comes to the device is served, if by this thread.
   * @param onEnd - As for {@link DeviceServer}.
   * @throws SystemCallError where io_uring cannot be used.
   */
  constructor(
    fd: number,
    queues: readonly number[],
    session: Session,
    maxWrite: number,
    device: DeviceServer | undefined,
    onEnd: (error: Error | undefined) => void,
  ) {
    this.#deviceFd = fd;
    this.#session = session;
    this.#device = device;
    this.#onEnd = onEnd;
    const size = PAGE + Math.max(maxWrite, 2 ** 20);
    const count = queues.length * ENTRIES_PER_QUEUE;
    this.#ring = new IoUring(2 ** Math.ceil(Math.log2(count + 1)));
    this.#memory = Mapping.anonymous(count * size);
    const memory = this.#memory.view();
    const done = (entry: RingEntry) => this.#commit(entry);
    for (let i = 0; i < count; i++) {
      const queue = queues[i % queues.length] ?? 0;
      this.#entries.push(new RingEntry(i, queue, memory, i * size, size, done));
    }
  }

  #command(entry: RingEntry, operation: number): number {
    const at = this.#ring.nextEntry();
    const { entries } = this.#ring;
    entries.setUint8(at + sqe.opcode, IORING_OP_URING_CMD);
    entries.setInt32(at + sqe.fd, this.#deviceFd, true);
    entries.setUint32(at + sqe.cmd_op, operation, true);
    entries.setUint32(at + sqe.user_data, entry.index, true);
    entries.setUint16(at + sqe.cmd + command.qid, entry.queue, true);
    return at;
  }

  #register(entry: RingEntry): void {
    const at = this.#command(entry, FUSE_IO_URING_CMD_REGISTER);
    this.#ring.entries.setBigUint64(at + sqe.addr, addressOf(entry.iovecs), true);
    this.#ring.entries.setUint32(at + sqe.len, 2, true);
    this.#registered++;
  }

  #commit(entry: RingEntry): void {
    if (!this.#open) return;
    const at = this.#command(entry, FUSE_IO_URING_CMD_COMMIT_AND_FETCH);
    const id = header.ring_ent_in_out + status.commit_id;
    const { entries } = this.#ring;
    entries.setUint32(at + sqe.cmd + command.commit_id, entry.view.getUint32(id, true), true);
    entries.setUint32(
      at + sqe.cmd + command.commit_id + 4,
      entry.view.getUint32(id + 4, true),
      true,
    );
    // An asynchronous backend answers at any time.
    if (!this.#entered) this.#enter(0);
  }

  #pollDevice(): void {
    const at = this.#ring.nextEntry();
    const { entries } = this.#ring;
    entries.setUint8(at + sqe.opcode, IORING_OP_POLL_ADD);
    entries.setInt32(at + sqe.fd, this.#deviceFd, true);
    entries.setUint32(at + sqe.poll32_events, POLLIN, true);
    entries.setUint32(at + sqe.user_data, DEVICE, true);
  }

  /** As {@link DeviceServer.block}. */
  block(shouldStop: () => boolean): void {
    this.#shouldStop = shouldStop;
    if (this.#registered === 0) {
      for (const entry of this.#entries) this.#register(entry);
      if (this.#device !== undefined) this.#pollDevice();
    }
    while (this.#open) {
      if (shouldStop()) {
        this.#end(undefined);
      } else if (this.#session.pending > 0) {
        this.#enter(0);
        this.#startWatch();
        return;
      } else {
        this.#enter(1);
        this.#reapAll();
      }
    }
  }

  #startWatch(): void {
    if (!this.#open) return;
    this.#ring.notify(this.#doorbell.fd);
    // Outside the native callback, as in DeviceServer.
    this.#watch = this.#doorbell.watch(() => setImmediate(this.#serveWatched));
    // For what was completed before.
    setImmediate(this.#serveWatched);
    this.onWatch(true);
  }

  /** As {@link DeviceServer.onWatch}. */
  onWatch: (watches: boolean) => void = () => {};

  /** Where completions are told of. */
  get fd(): number {
    return this.#doorbell.fd;
  }

  readonly #serveWatched = (): void => {
    if (this.#watch === undefined) return;
    this.#reapAll();
    this.#enter(0);
    if (!this.#open || this.#session.pending > 0) return;
    this.#unwatch();
    this.onWatch(false);
    this.block(this.#shouldStop);
  };

  #enter(completions: number): void {
    if (!this.#open) return;
    const errno = this.#ring.enter(completions);
    if (errno !== 0 && errno !== EINTR) this.#end(new SystemCallError("io_uring_enter", errno));
  }

  #reapAll(): void {
    this.#entered = true;
    while (this.#open && this.#ring.reap(this.#onCompletion));
    this.#entered = false;
  }

  #completed(userData: number, result: number): void {
    const entry = this.#entries[userData];
    if (entry !== undefined && result === 0) {
      entry.serve(this.#session);
    } else if (userData === DEVICE) {
      this.#device?.serveAvailable();
      // Served to its end, the device has closed this, too.
      if (this.#open) this.#pollDevice();
    } else {
      this.#registered--;
      const gone = result === -ENOTCONN || result === -ECONNABORTED;
      if (!gone) this.#end(new SystemCallError("FUSE_IO_URING_CMD", -result, "on /dev/fuse"));
      else if (this.#registered === 0) this.#end(undefined);
    }
  }

  #end(error: Error | undefined): void {
    if (!this.#open) return;
    this.close();
    this.#onEnd(error);
  }

  #unwatch(): void {
    if (this.#watch === undefined) return;
    this.#watch.close();
    this.#watch = undefined;
    this.#ring.notify(undefined);
  }

  /** Stops serving. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#unwatch();
    this.#device?.close();
    this.#ring.close();
    this.#doorbell.close();
    // The kernel lets go of entries in its own time. Their memory must not become another's before, so
    // in the rare case that the connection outlives this thread it stays.
    if (this.#registered === 0) this.#memory.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
