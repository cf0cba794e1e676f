import {
  addressOf,
  check,
  closeFd,
  lastErrno,
  lazyFunction,
  Mapping,
  ResourceStack,
} from "@supermachine-internal/libc";
import {
  IORING_ENTER_GETEVENTS,
  IORING_OFF_SQ_RING,
  IORING_OFF_SQES,
  IORING_REGISTER_EVENTFD,
  IORING_SETUP_SQE128,
  IORING_UNREGISTER_EVENTFD,
  io_cqring_offsets,
  io_sqring_offsets,
  io_uring_cqe,
  io_uring_params,
  io_uring_sqe,
  SYS_io_uring_enter,
  SYS_io_uring_register,
  SYS_io_uring_setup,
} from "./abi.js";

const syscall = lazyFunction<
  (
    number: number,
    a: number,
    b: number | bigint,
    c: number,
    d: number,
    e: number,
    f: number,
  ) => number
>("long syscall(long number, long a, long b, long c, long d, long e, long f)");

const SQE_SIZE = 2 * io_uring_sqe.size;
const U32 = Uint32Array.BYTES_PER_ELEMENT;

/** An io_uring(7) with entries of 128 bytes, for one thread. */
export class IoUring implements Disposable {
  readonly fd: number;
  /** The submission queue entries: write the one that {@link IoUring.nextEntry} gives. */
  readonly entries: DataView;
  readonly #entryBytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #ring: DataView;
  // Where the words of the two queues are, in words; the completions in bytes.
  readonly #sqTail: number;
  readonly #sqMask: number;
  readonly #cqHead: number;
  readonly #cqTail: number;
  readonly #cqMask: number;
  readonly #cqes: number;
  readonly #resources: ResourceStack;
  #tail = 0;
  #unsubmitted = 0;

  /**
   * @param depth - How many entries may be waiting to be submitted.
   * @throws SystemCallError `ENOSYS` or `EPERM` where io_uring is not there or not allowed.
   */
  constructor(depth: number) {
    const resources = new ResourceStack();
    this.#resources = resources;
    try {
      const params = Buffer.alloc(io_uring_params.size);
      params.writeUInt32LE(IORING_SETUP_SQE128, io_uring_params.offsets.flags);
      const fd = syscall(SYS_io_uring_setup, depth, addressOf(params), 0, 0, 0, 0);
      this.fd = check(fd, "io_uring_setup");
      resources.defer(() => closeFd(this.fd));
      const { sq_entries, cq_entries, sq_off, cq_off } = io_uring_params.decode(params);
      const sq = io_sqring_offsets.decode(sq_off);
      const cq = io_cqring_offsets.decode(cq_off);
      // Both rings are in one mapping on every kernel that has commands (IORING_FEAT_SINGLE_MMAP).
      const length = Math.max(
        sq.array + sq_entries * U32,
        cq.cqes + cq_entries * io_uring_cqe.size,
      );
      const shared = { shared: true };
      const ring = resources.use(Mapping.file(this.fd, length, IORING_OFF_SQ_RING, shared)).view();
      const sqes = Mapping.file(this.fd, sq_entries * SQE_SIZE, IORING_OFF_SQES, shared);
      this.entries = new DataView(resources.use(sqes).view());
      this.#entryBytes = new Uint8Array(this.entries.buffer);
      this.#ring = new DataView(ring);
      this.#words = new Uint32Array(ring, 0, Math.floor(ring.byteLength / U32));
      this.#sqTail = sq.tail / U32;
      this.#cqHead = cq.head / U32;
      this.#cqTail = cq.tail / U32;
      this.#cqes = cq.cqes;
      this.#sqMask = sq_entries - 1;
      this.#cqMask = cq_entries - 1;
      // Entries are used in turn.
      for (let i = 0; i < sq_entries; i++) this.#words[sq.array / U32 + i] = i;
    } catch (error) {
      resources.dispose();
      throw error;
    }
  }

  /** The offset in `entries` of the next entry to be submitted, all zero. */
  nextEntry(): number {
    const at = (this.#tail & this.#sqMask) * SQE_SIZE;
    this.#entryBytes.fill(0, at, at + SQE_SIZE);
    this.#tail = (this.#tail + 1) >>> 0;
    this.#unsubmitted++;
    return at;
  }

  /** Submits what is new and waits for `completions`. Returns 0 or the errno. */
  enter(completions: number): number {
    Atomics.store(this.#words, this.#sqTail, this.#tail);
    const flags = completions > 0 ? IORING_ENTER_GETEVENTS : 0;
    const submitted = syscall(
      SYS_io_uring_enter,
      this.fd,
      this.#unsubmitted,
      completions,
      flags,
      0,
      0,
    );
    if (submitted === -1) return lastErrno();
    this.#unsubmitted -= submitted;
    return 0;
  }

  /** Takes a completion: `handle` gets the `user_data` and the result. False when there is none. */
  reap(handle: (userData: number, result: number) => void): boolean {
    const head = this.#words[this.#cqHead] ?? 0;
    if (head === Atomics.load(this.#words, this.#cqTail)) return false;
    const at = this.#cqes + (head & this.#cqMask) * io_uring_cqe.size;
    const userData = this.#ring.getUint32(at + io_uring_cqe.offsets.user_data, true);
    const result = this.#ring.getInt32(at + io_uring_cqe.offsets.res, true);
    Atomics.store(this.#words, this.#cqHead, (head + 1) >>> 0);
    handle(userData, result);
    return true;
  }

  /** Signals an eventfd whenever there are new completions, or no longer. */
  notify(eventfd: number | undefined): void {
    const descriptor = Buffer.alloc(4);
    descriptor.writeInt32LE(eventfd ?? 0);
    const result =
      eventfd === undefined
        ? syscall(SYS_io_uring_register, this.fd, IORING_UNREGISTER_EVENTFD, 0, 0, 0, 0)
        : syscall(
            SYS_io_uring_register,
            this.fd,
            IORING_REGISTER_EVENTFD,
            // By value: the C function takes words.
            Number(addressOf(descriptor)),
            1,
            0,
            0,
          );
    check(result, "io_uring_register", `eventfd ${eventfd}`);
  }

  /** Cancels what is under way. */
  close(): void {
    this.#resources.dispose();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
