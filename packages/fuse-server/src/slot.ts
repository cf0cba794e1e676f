import {
  decodeName,
  EINVAL,
  ENAMETOOLONG,
  FUSE_EXT_GROUPS,
  fuse_ext_header,
  fuse_in_header,
  fuse_out_header,
  fuse_release_in,
  fuse_supp_groups,
  NAME_MAX,
  type Operation,
} from "@supermachine/fuse-protocol";
import { DirentPlusSink, DirentSink } from "./dirent-sink.js";
import { FuseError } from "./error.js";
import {
  AttrReply,
  EntryReply,
  IoctlReply,
  LockReply,
  OpenReply,
  StatfsReply,
  StatxReply,
} from "./reply.js";
import type { RequestContext } from "./request.js";
import { LockFields, SetattrFields } from "./request-fields.js";
import { gather, sliceBuffers, totalLength } from "./scatter.js";

const head = fuse_in_header.offsets;
const HEADER = fuse_in_header.size;
/** Upper halves from here on are integers of 2^53 and more. */
const HIGH_LIMIT = 2 ** 21;
/** Enough for a struct and two names; larger requests make the slot grow. */
const INITIAL = 1024;
/** A slot that has grown beyond this gives the memory back. */
const KEEP = 256 * 1024;

const nothing: readonly Uint8Array[] = [];
const ignore = (): void => {};

function growth(needed: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(needed, INITIAL)));
}

interface Viewed {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

function viewed(bytes: Uint8Array): Viewed {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) };
}

/**
 * All that one request needs while it is in flight, used again for the next: its header and arguments
 * (copied once, unless the client cannot change them after they are checked), the objects handed to the
 * backend, and the reply under construction.
 */
export class RequestSlot implements RequestContext {
  opcode = 0;
  nodeid = 0;
  uid = 0;
  gid = 0;
  pid = 0;
  uniqueLow = 0;
  uniqueHigh = 0;
  /** Bytes of the request; those of a WRITE's data stay in `input`. */
  length = 0;
  /** Where the extensions start: the end of the arguments. */
  #argumentsEnd = 0;
  /** Where the next name starts. */
  #at = 0;
  #lockOwnerAt = 0;

  #ownRequest = Buffer.allocUnsafeSlow(INITIAL);
  #ownRequestView = new DataView(this.#ownRequest.buffer);
  #ownReply = Buffer.allocUnsafeSlow(INITIAL);
  #ownReplyView = new DataView(this.#ownReply.buffer);
  /** The transport's buffers when they are used in place; they come again, so their views are kept. */
  #input = viewed(this.#ownRequest);
  #output = viewed(this.#ownReply);
  /** Header and arguments: a copy, or in place. */
  #request: Uint8Array = this.#ownRequest;
  #requestView: DataView = this.#ownRequestView;
  /** The reply under construction: to be copied to `output` unless that is where it is. */
  reply: Uint8Array = this.#ownReply;
  replyView: DataView = this.#ownReplyView;

  input = nothing;
  output = nothing;
  /** Bytes of `output`. */
  capacity = 0;
  complete: (bytesWritten: number) => void = ignore;
  /** The parts of `input` or `output` that hold file data. */
  readonly data: Uint8Array[] = [];

  readonly entry = new EntryReply();
  readonly attr = new AttrReply();
  readonly open = new OpenReply();
  statfs = new StatfsReply();
  readonly lock = new LockFields();
  readonly setattr = new SetattrFields();
  readonly dirents = new DirentSink();
  #direntsPlus: DirentPlusSink | undefined;
  #statx: StatxReply | undefined;
  #lockReply: LockReply | undefined;
  #ioctl: IoctlReply | undefined;
  #abort: AbortController | undefined;
  #interrupted = false;

  /** Only READDIRPLUS needs it: made when first asked for, as the three below. */
  get direntsPlus(): DirentPlusSink {
    this.#direntsPlus ??= new DirentPlusSink();
    return this.#direntsPlus;
  }

  get statx(): StatxReply {
    this.#statx ??= new StatxReply();
    return this.#statx;
  }

  get lockReply(): LockReply {
    this.#lockReply ??= new LockReply();
    return this.#lockReply;
  }

  get ioctl(): IoctlReply {
    this.#ioctl ??= new IoctlReply();
    return this.#ioctl;
  }

  // These have many fields and are asked for seldom: a new object is as good as a cleared one.
  freshStatx(): StatxReply {
    this.#statx = new StatxReply();
    return this.#statx;
  }

  freshLock(): LockReply {
    this.#lockReply = new LockReply();
    return this.#lockReply;
  }

  freshIoctl(): IoctlReply {
    this.#ioctl = new IoctlReply();
    return this.#ioctl;
  }

  freshStatfs(): StatfsReply {
    this.statfs = new StatfsReply();
    return this.statfs;
  }

  freshOpen(): OpenReply {
    this.open.fh = 0;
    this.open.flags = 0;
    this.open.passthroughFd = undefined;
    this.open.backingId = 0;
    return this.open;
  }

  get unique(): bigint {
    return (BigInt(this.uniqueHigh) << 32n) | BigInt(this.uniqueLow);
  }

  get lockOwner(): bigint {
    return this.#lockOwnerAt === 0 ? 0n : this.u64Exact(this.#lockOwnerAt);
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#interrupted) this.#abort.abort();
    return this.#abort.signal;
  }

  /** The first group of the FUSE_EXT_GROUPS extension. */
  get supplementaryGroup(): number | undefined {
    let at = this.#argumentsEnd;
    while (at + fuse_ext_header.size + fuse_supp_groups.size + 4 <= this.length) {
      const size = this.u32(at + fuse_ext_header.offsets.size);
      if (this.u32(at + fuse_ext_header.offsets.type) === FUSE_EXT_GROUPS) {
        const groups = at + fuse_ext_header.size;
        return this.u32(groups) > 0 ? this.u32(groups + fuse_supp_groups.size) : undefined;
      }
      if (size < fuse_ext_header.size) return undefined;
      at += size;
    }
    return undefined;
  }

  /** Wakes a backend that observes `signal`. */
  interrupt(): void {
    this.#interrupted = true;
    this.#abort?.abort();
  }

  /**
   * Takes a request and its header. False when it is too short to have one.
   *
   * @param inPlace - Undivided buffers may be used as they lie.
   */
  begin(
    input: readonly Uint8Array[],
    output: readonly Uint8Array[],
    complete: (bytesWritten: number) => void,
    inPlace: boolean,
  ): boolean {
    this.input = input;
    this.output = output;
    this.capacity = totalLength(output);
    this.complete = complete;
    this.length = totalLength(input);
    if (this.length < HEADER) return false;
    if (inPlace && output.length === 1) this.#useOutput(output[0] as Uint8Array);
    if (!inPlace || input.length !== 1 || !this.#useInput(input[0] as Uint8Array)) {
      gather(input, 0, HEADER, this.#request);
    }
    this.opcode = this.u32(head.opcode);
    this.uid = this.u32(head.uid);
    this.gid = this.u32(head.gid);
    this.pid = this.u32(head.pid);
    this.uniqueLow = this.u32(head.unique);
    this.uniqueHigh = this.u32(head.unique + 4);
    return true;
  }

  /** A buffer that ends with a short message would not hold the fields that are absent. */
  #useInput(bytes: Uint8Array): boolean {
    if (bytes.length < INITIAL) return false;
    if (bytes !== this.#input.bytes) this.#input = viewed(bytes);
    this.#request = bytes;
    this.#requestView = this.#input.view;
    return true;
  }

  #useOutput(bytes: Uint8Array): void {
    if (bytes.length < INITIAL) return;
    if (bytes !== this.#output.bytes) this.#output = viewed(bytes);
    this.reply = bytes;
    this.replyView = this.#output.view;
  }

  /** The reply is built where the client looks for it. */
  get repliesInPlace(): boolean {
    return this.reply !== this.#ownReply;
  }

  /**
   * Takes the arguments: all but the data of a WRITE. Throws {@link FuseError} `EINVAL` when lengths
   * contradict each other, or exceed `limit`.
   */
  takeArguments(operation: Operation, dataFollows: boolean, limit: number): void {
    const claimed = this.u32(head.len);
    if (claimed < HEADER + operation.minimum || claimed > this.length) throw new FuseError(EINVAL);
    this.length = claimed;
    const body = HEADER + (operation.request?.size ?? 0);
    const end = dataFollows ? body : claimed;
    if (end > limit) throw new FuseError(EINVAL);
    if (this.#request === this.#ownRequest) {
      this.#ensureRequest(end);
      gather(this.input, HEADER, end, this.#request);
    }
    this.#argumentsEnd = end - this.#requestView.getUint16(head.total_extlen, true) * 8;
    if (this.#argumentsEnd < HEADER + operation.minimum) throw new FuseError(EINVAL);
    this.nodeid = this.u64(head.nodeid);
    this.#at = body;
  }

  #ensureRequest(size: number): void {
    if (size <= this.#ownRequest.length) return;
    const larger = Buffer.allocUnsafeSlow(growth(size));
    larger.set(this.#ownRequest.subarray(0, HEADER));
    this.#setOwnRequest(larger);
  }

  #setOwnRequest(bytes: Buffer<ArrayBuffer>): void {
    this.#ownRequest = bytes;
    this.#ownRequestView = new DataView(bytes.buffer);
    this.#request = bytes;
    this.#requestView = this.#ownRequestView;
  }

  #setOwnReply(bytes: Buffer<ArrayBuffer>): void {
    this.#ownReply = bytes;
    this.#ownReplyView = new DataView(bytes.buffer);
    this.reply = bytes;
    this.replyView = this.#ownReplyView;
  }

  /** Makes room for a reply of `size` bytes, header included. */
  ensureReply(size: number): void {
    if (size > this.reply.length) this.#setOwnReply(Buffer.allocUnsafeSlow(growth(size)));
  }

  /** Room for a reply body of up to `size` bytes. */
  replyBody(size: number): Uint8Array {
    this.ensureReply(fuse_out_header.size + size);
    return this.reply.subarray(fuse_out_header.size, fuse_out_header.size + size);
  }

  /** The largest reply body that the client has room for, at most `wanted` bytes. */
  replyRoom(wanted: number): number {
    return Math.max(0, Math.min(wanted, this.capacity - fuse_out_header.size));
  }

  /** Forgets the request, so that nothing of it is kept alive or seen by the next. */
  end(): void {
    this.input = nothing;
    this.output = nothing;
    this.complete = ignore;
    this.data.length = 0;
    this.#lockOwnerAt = 0;
    this.#abort = undefined;
    this.#interrupted = false;
    this.#request = this.#ownRequest;
    this.#requestView = this.#ownRequestView;
    this.reply = this.#ownReply;
    this.replyView = this.#ownReplyView;
    if (this.#ownRequest.length > KEEP) this.#setOwnRequest(Buffer.allocUnsafeSlow(INITIAL));
    if (this.#ownReply.length > KEEP) this.#setOwnReply(Buffer.allocUnsafeSlow(INITIAL));
  }

  u32(at: number): number {
    return this.#requestView.getUint32(at, true);
  }

  s32(at: number): number {
    return this.#requestView.getInt32(at, true);
  }

  /** Throws {@link FuseError} `EINVAL` for values of 2^53 and more, which nothing of ours has. */
  u64(at: number): number {
    const high = this.#requestView.getUint32(at + 4, true);
    if (high >= HIGH_LIMIT) throw new FuseError(EINVAL);
    return this.#requestView.getUint32(at, true) + high * 2 ** 32;
  }

  /** Seconds of a time before 1970 are negative, sign-extended to 64 bits. */
  s64(at: number): number {
    return (
      this.#requestView.getUint32(at, true) + this.#requestView.getInt32(at + 4, true) * 2 ** 32
    );
  }

  u64Exact(at: number): bigint {
    return this.#requestView.getBigUint64(at, true);
  }

  setLockOwner(at: number): void {
    this.#lockOwnerAt = at;
  }

  /** The handle of a RELEASE or RELEASEDIR. */
  releasedHandle(): number {
    return this.u64(HEADER + fuse_release_in.offsets.fh);
  }

  /** Skips arguments of another size than the operation's struct. */
  namesStartAt(at: number): void {
    this.#at = at;
  }

  /** The next NUL-terminated string, of 1..`longest` bytes, else throws {@link FuseError}. */
  string(longest: number): string {
    const start = this.#at;
    const end = this.#terminator(start);
    if (end === start) throw new FuseError(EINVAL);
    if (end - start > longest) throw new FuseError(ENAMETOOLONG);
    this.#at = end + 1;
    return decodeName(this.#request, start, end);
  }

  /** Where the NUL is. Names are short: a loop finds it faster than `indexOf`. */
  #terminator(start: number): number {
    for (let at = start; at < this.#argumentsEnd; at++) if (this.#request[at] === 0) return at;
    throw new FuseError(EINVAL);
  }

  /** The next file name; throws {@link FuseError} when it is none. */
  fileName(dots = false): string {
    const name = this.string(NAME_MAX);
    // Linux resolves "." and ".." itself; from another client they would be a way out of the tree.
    if (name.includes("/") || (!dots && (name === "." || name === "..")))
      throw new FuseError(EINVAL);
    return name;
  }

  /** The `size` bytes after the names; throws {@link FuseError} when there are fewer. */
  bytes(size: number): Uint8Array {
    if (size > this.#argumentsEnd - this.#at) throw new FuseError(EINVAL);
    return this.#request.subarray(this.#at, this.#at + size);
  }

  /** The offset of `size` bytes after the struct; throws {@link FuseError} when there are fewer. */
  records(size: number): number {
    if (size > this.#argumentsEnd - this.#at) throw new FuseError(EINVAL);
    return this.#at;
  }

  /** The `size` bytes of file data after the arguments. */
  inputData(size: number): readonly Uint8Array[] {
    if (size > this.length - this.#at) throw new FuseError(EINVAL);
    sliceBuffers(this.input, this.#at, size, this.data);
    return this.data;
  }

  /** Room in the client's memory for `size` bytes of file data, or less if it has less. */
  outputData(size: number): readonly Uint8Array[] {
    sliceBuffers(this.output, fuse_out_header.size, this.replyRoom(size), this.data);
    return this.data;
  }
}
