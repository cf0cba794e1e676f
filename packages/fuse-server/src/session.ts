import {
  ECONNABORTED,
  EINVAL,
  EIO,
  ENFILE,
  ENOMEM,
  ENOSYS,
  FUSE_BATCH_FORGET,
  FUSE_DESTROY,
  FUSE_FORGET,
  FUSE_INIT,
  FUSE_INTERRUPT,
  FUSE_PASSTHROUGH,
  FUSE_SETXATTR_EXT,
  fuse_in_header,
  fuse_interrupt_in,
  fuse_out_header,
  type Operation,
  operations,
  printReply,
  printRequest,
} from "@supermachine/fuse-protocol";
import type { FsBackend } from "./backend.js";
import { ClientLedger } from "./client-ledger.js";
import { FuseError } from "./error.js";
import { batchForget, forget } from "./forget.js";
import { IoModes, type PassthroughOptions } from "./io-modes.js";
import { type Logger, processWarnings } from "./logger.js";
import { negotiate, type Wishes } from "./negotiate.js";
import type { OperationHandler, Validity } from "./operations/operation-handler.js";
import { extendedHandlers, type HandlerTable, handlers } from "./operations/table.js";
import { PendingRequests } from "./pending-requests.js";
import type { SessionInfo } from "./request.js";
import { gather, scatter } from "./scatter.js";
import type { SessionOptions } from "./session-options.js";
import { RequestSlot } from "./slot.js";

const BODY = fuse_in_header.size;
const HEADER = fuse_out_header.size;
/** The largest errno the kernel accepts (MAX_ERRNO is 4095, the device's limit is 1000). */
const LARGEST_ERRNO = 999;
/**
 * The most requests that a backend may still be at; more than any transport of ours carries at once. A
 * client that starts over while its requests wait, again and again, gets no further than this.
 */
const MAX_PENDING = 16_384;
/** Idle slots kept for later requests. */
const IDLE_SLOTS = 64;

/**
 * One client's connection to a backend: decodes requests, calls the backend, encodes replies. It knows
 * no transport; one feeds it through {@link Session.handle}. A backend that answers synchronously is
 * served without a promise or microtask.
 */
export class Session implements Disposable {
  readonly #backend: FsBackend;
  readonly #logger: Logger;
  readonly #wishes: Wishes;
  readonly #validity: Validity;
  readonly #idle: RequestSlot[] = [];
  readonly #pending = new PendingRequests();
  /** Only for sessions that share their backend or have limits: keeping it costs. */
  readonly #ledger: ClientLedger | undefined;
  readonly #sharedBackend: boolean;
  readonly #inPlace: boolean;
  readonly #passthrough: PassthroughOptions | undefined;
  readonly #onStrayInterrupt: ((unique: bigint) => void) | undefined;
  /** Once passthrough is agreed on. */
  #ioModes: IoModes | undefined;
  #handlers: HandlerTable = handlers;
  #info: SessionInfo | undefined;
  #closed = false;

  constructor(backend: FsBackend, options: SessionOptions = {}) {
    this.#backend = backend;
    this.#logger = options.logger ?? processWarnings;
    this.#ledger = needsLedger(options) ? new ClientLedger(options) : undefined;
    this.#sharedBackend = options.sharedBackend === true;
    this.#inPlace = options.privateBuffers === true;
    this.#passthrough = options.passthrough;
    this.#onStrayInterrupt = options.onStrayInterrupt;
    this.#wishes = {
      maxWrite: Math.max(4096, Math.min(options.maxWrite ?? 2 ** 20, 2 ** 20)),
      writebackCache: options.writebackCache ?? false,
      readdirplus: options.readdirplus ?? true,
      mapAlignment: options.mapAlignment ?? 12,
      maxStackDepth:
        options.passthrough === undefined ? 0 : (options.passthrough.maxStackDepth ?? 1),
      ioUring: options.ioUring ?? false,
      hostKernel: options.hostKernel ?? false,
    };
    this.#validity = {
      entryValidMs: options.entryValidMs ?? 1000,
      attrValidMs: options.attrValidMs ?? 1000,
    };
  }

  /** What was agreed in INIT; undefined before it and after DESTROY. */
  get info(): SessionInfo | undefined {
    return this.#info;
  }

  /** Requests whose backend has not answered yet. */
  get pending(): number {
    return this.#pending.size;
  }

  /**
   * Serves one request. Never throws, whatever the bytes.
   *
   * @param input - The request: header, arguments and data, split anywhere.
   * @param output - Room for the reply, split anywhere; file data is read straight into it.
   * @param complete - Called once with the length of the reply, 0 for none: before `handle` returns if
   * the backend answers synchronously. Until then `input` and `output` must stay as they are.
   */
  handle(
    input: readonly Uint8Array[],
    output: readonly Uint8Array[],
    complete: (bytesWritten: number) => void,
  ): void {
    const slot = this.#idle.pop() ?? new RequestSlot();
    if (!slot.begin(input, output, complete, this.#inPlace)) {
      this.#logger.warn(`dropped a FUSE request of ${slot.length} bytes: it has no header`);
      this.#release(slot, 0);
      return;
    }
    if (this.#logger.trace !== undefined) this.#traceRequest(slot);
    const operation = operations[slot.opcode];
    if (operation !== undefined && !operation.replies) {
      this.#notice(slot, operation);
      this.#release(slot, 0);
      return;
    }
    if (slot.capacity < HEADER) {
      this.#logger.warn(`dropped a FUSE request (opcode ${slot.opcode}): no room for a reply`);
      this.#release(slot, 0);
    } else if (slot.opcode === FUSE_INIT) {
      this.#reply(
        slot,
        this.#guard(slot, () => this.#initialize(slot)),
        false,
      );
    } else if (this.#info === undefined || this.#closed) {
      this.#reply(slot, this.#closed ? -ECONNABORTED : -EIO, false);
    } else if (slot.opcode === FUSE_DESTROY) {
      this.#reply(
        slot,
        this.#guard(slot, () => this.#destroyBackend()),
        false,
      );
    } else {
      this.#dispatch(slot, this.#handlers[slot.opcode]);
    }
  }

  #dispatch(slot: RequestSlot, handler: OperationHandler | undefined): void {
    const operation = operations[slot.opcode];
    if (handler === undefined || operation === undefined) {
      this.#reply(slot, -ENOSYS, false);
      return;
    }
    if (this.#pending.size >= MAX_PENDING) {
      this.#reply(slot, -ENOMEM, false);
      return;
    }
    if (this.#ledger?.exceeds(slot.opcode) === true) {
      this.#reply(slot, -ENFILE, false);
      return;
    }
    let result: number | Promise<number>;
    try {
      const dataFollows = handler.dataFollows === true;
      slot.takeArguments(operation, dataFollows, this.#wishes.maxWrite + 4096);
      result = handler.begin(slot, this.#backend, this.#validity);
    } catch (error) {
      result = this.#failure(slot, error);
    }
    if (typeof result === "number") this.#finish(slot, handler, result);
    else this.#await(slot, handler, result);
  }

  /** The only place where a promise is involved: the backend made one. */
  #await(slot: RequestSlot, handler: OperationHandler, result: Promise<number>): void {
    this.#pending.add(slot);
    Promise.resolve(result).then(
      (value) => {
        this.#pending.delete(slot);
        this.#finish(slot, handler, value);
      },
      (error: unknown) => {
        this.#pending.delete(slot);
        this.#finish(slot, handler, this.#failure(slot, error));
      },
    );
  }

  #finish(slot: RequestSlot, handler: OperationHandler, result: number): void {
    if (this.#ioModes !== undefined) this.#ioModes.record(slot, result);
    if (result < 0) {
      this.#reply(slot, this.#checkedError(slot, result), false);
      return;
    }
    if (!Number.isSafeInteger(result)) {
      this.#logger.warn(`backend answered opcode ${slot.opcode} with ${String(result)}`);
      this.#reply(slot, -EIO, false);
      return;
    }
    if (this.#ledger !== undefined) {
      this.#ledger.record(slot);
      // The client has left while the backend was still at it.
      if (this.#info === undefined) this.#giveBack(this.#ledger);
    }
    this.#reply(slot, handler.finish(slot, result), handler.direct === true);
  }

  #checkedError(slot: RequestSlot, error: number): number {
    if (Number.isInteger(error) && error >= -LARGEST_ERRNO) return error;
    this.#logger.warn(`backend answered opcode ${slot.opcode} with ${error}, which is no errno`);
    return -EIO;
  }

  #guard(slot: RequestSlot, step: () => number): number {
    try {
      return step();
    } catch (error) {
      return this.#failure(slot, error);
    }
  }

  #failure(slot: RequestSlot, error: unknown): number {
    if (error instanceof FuseError) return -error.errno;
    const name = operations[slot.opcode]?.name ?? `opcode ${slot.opcode}`;
    this.#logger.warn(`backend threw in ${name} of node ${slot.nodeid}; answered EIO`, error);
    return -EIO;
  }

  /** Sends a body of `result` bytes, or a negated errno. */
  #reply(slot: RequestSlot, result: number, direct: boolean): void {
    let error = Math.min(result, 0);
    let length = HEADER + Math.max(result, 0);
    if (length > slot.capacity) {
      error = -EIO;
      length = HEADER;
      this.#logger.warn(`no room for the reply to opcode ${slot.opcode}; answered EIO`);
    }
    const o = fuse_out_header.offsets;
    slot.replyView.setUint32(o.len, length, true);
    slot.replyView.setInt32(o.error, error, true);
    slot.replyView.setUint32(o.unique, slot.uniqueLow, true);
    slot.replyView.setUint32(o.unique + 4, slot.uniqueHigh, true);
    if (!slot.repliesInPlace) scatter(slot.reply, direct ? HEADER : length, slot.output);
    if (this.#logger.trace !== undefined) {
      const shown = slot.reply.subarray(0, direct ? HEADER : length);
      this.#logger.trace(printReply(slot.opcode, shown));
    }
    this.#release(slot, length);
  }

  #release(slot: RequestSlot, bytesWritten: number): void {
    const { complete } = slot;
    slot.end();
    if (this.#idle.length < IDLE_SLOTS) this.#idle.push(slot);
    complete(bytesWritten);
  }

  #initialize(slot: RequestSlot): number {
    const operation = operations[FUSE_INIT];
    if (operation === undefined || this.#closed) return -ECONNABORTED;
    slot.takeArguments(operation, false, 4096);
    const outcome = negotiate(slot, this.#backend, this.#wishes);
    if (outcome.kind === "refused") {
      this.#logger.warn(outcome.reason);
      return outcome.error;
    }
    if (outcome.kind === "retry") return outcome.length;
    // A guest that was reset starts over without DESTROY: its nodes and handles are gone.
    if (this.#info !== undefined) this.#destroyBackend();
    this.#start(outcome.info);
    return outcome.length;
  }

  #start(info: SessionInfo): void {
    this.#backend.init?.(info);
    this.#info = info;
    const extended = (info.flags & FUSE_SETXATTR_EXT) !== 0n;
    this.#handlers = extended ? extendedHandlers : handlers;
    const passes = this.#passthrough !== undefined && (info.flags & FUSE_PASSTHROUGH) !== 0n;
    this.#ioModes = passes ? new IoModes(this.#passthrough) : undefined;
  }

  /**
   * Goes on from the INIT that another session of the same connection has answered, with the same
   * options: each thread that serves a connection has a session of its own, but INIT comes only once.
   */
  adopt(info: SessionInfo): void {
    if (!this.#closed && this.#info === undefined) this.#start(info);
  }

  /** Forgets the client, as its DESTROY does. Another may begin with INIT, or be adopted. */
  reset(): void {
    if (!this.#closed && this.#info !== undefined) this.#destroyBackend();
  }

  #destroyBackend(): number {
    this.#info = undefined;
    this.#pending.interruptAll();
    if (!this.#sharedBackend) this.#backend.destroy?.();
    if (this.#ledger !== undefined) this.#giveBack(this.#ledger);
    return 0;
  }

  /** A backend of this session's own has forgotten everything in `destroy`. */
  #giveBack(ledger: ClientLedger): void {
    if (this.#sharedBackend) ledger.settle(new RequestSlot(), this.#backend);
    else ledger.clear();
  }

  /** Requests without a reply. */
  #notice(slot: RequestSlot, operation: Operation): void {
    if (this.#info === undefined || this.#closed) return;
    try {
      slot.takeArguments(operation, false, this.#wishes.maxWrite + 4096);
      if (slot.opcode === FUSE_FORGET) forget(slot, this.#backend, this.#ledger);
      else if (slot.opcode === FUSE_BATCH_FORGET) batchForget(slot, this.#backend, this.#ledger);
      else if (slot.opcode === FUSE_INTERRUPT) this.#interrupt(slot);
    } catch (error) {
      if (error instanceof FuseError && error.errno === EINVAL) {
        this.#logger.warn(`ignored a malformed FUSE request (opcode ${slot.opcode})`);
      } else this.#failure(slot, error);
    }
  }

  /** A request that has been answered meanwhile is none of the pending: nothing to do then. */
  #interrupt(slot: RequestSlot): void {
    const low = slot.u32(BODY + fuse_interrupt_in.offsets.unique);
    const high = slot.u32(BODY + fuse_interrupt_in.offsets.unique + 4);
    if (this.#pending.interrupt(low, high)) return;
    this.#onStrayInterrupt?.((BigInt(high) << 32n) | BigInt(low));
  }

  /** Interrupts a pending request; false when none has that id. See {@link SessionOptions.onStrayInterrupt}. */
  interrupt(unique: bigint): boolean {
    return this.#pending.interrupt(Number(unique & 0xffff_ffffn), Number(unique >> 32n));
  }

  #traceRequest(slot: RequestSlot): void {
    const bytes = new Uint8Array(Math.min(slot.length, 512));
    gather(slot.input, 0, bytes.length, bytes);
    this.#logger.trace?.(printRequest(bytes));
  }

  /** Ends the session: pending requests are interrupted, the backend's `destroy` is called. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#info !== undefined) this.#destroyBackend();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function needsLedger({ sharedBackend, maxNodes, maxHandles }: SessionOptions): boolean {
  return sharedBackend === true || maxNodes !== undefined || maxHandles !== undefined;
}
