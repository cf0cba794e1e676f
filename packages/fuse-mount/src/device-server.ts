import { FUSE_MIN_READ_BUFFER, fuse_in_header } from "@supermachine/fuse-protocol";
import type { Session } from "@supermachine/fuse-server";
import {
  lastErrno,
  SystemCallError,
  setNonBlocking,
  type Watch,
  watchReadable,
} from "@supermachine-internal/libc";
import { read, write, yieldProcessor } from "./native.js";
import { Patience } from "./patience.js";

// Linux errno numbers: /dev/fuse exists nowhere else.
const ENOENT = 2;
const EINTR = 4;
const EAGAIN = 11;
const ENODEV = 19;

/** Requests served before other work of the event loop gets its turn. */
const BATCH = 64;

/** Memory for one request and its reply. */
class Exchange {
  readonly #request: Buffer;
  readonly #input: readonly Uint8Array[];
  readonly #reply: Uint8Array;
  readonly #output: readonly Uint8Array[];
  readonly #fd: number;
  readonly #done: (exchange: Exchange, length: number) => void;
  /** The session's callback: made once, not for each request. */
  readonly #complete = (length: number): void => this.#done(this, length);

  constructor(fd: number, size: number, done: (exchange: Exchange, length: number) => void) {
    this.#fd = fd;
    this.#request = Buffer.allocUnsafeSlow(size);
    this.#reply = Buffer.allocUnsafeSlow(size);
    this.#input = [this.#request];
    this.#output = [this.#reply];
    this.#done = done;
  }

  /** Reads a request; -1 as read(2). */
  receive(): number {
    return read(this.#fd, this.#request, this.#request.length);
  }

  serve(session: Session, length: number): void {
    // The kernel states in the header what it gives: then no view of just those bytes is needed.
    const stated = this.#request.readUInt32LE(fuse_in_header.offsets.len);
    const whole = length >= fuse_in_header.size && stated === length;
    const input = whole ? this.#input : [this.#request.subarray(0, length)];
    session.handle(input, this.#output, this.#complete);
  }

  /** Writes the reply; the errno, or 0. */
  send(length: number): number {
    return write(this.#fd, this.#reply, length) === -1 ? lastErrno() : 0;
  }
}

/**
 * Serves the requests that arrive at a /dev/fuse descriptor, in one of two ways.
 * {@link DeviceServer.watch}: from this thread's event loop, which does other things, too.
 * {@link DeviceServer.block}: a thread of its own waits in read(2), which saves two system calls a
 * request. That cannot be while the backend works on something asynchronous, since nothing else of the
 * thread would run: meanwhile it watches.
 */
export class DeviceServer implements Disposable {
  readonly #fd: number;
  readonly #session: Session;
  readonly #size: number;
  readonly #idle: Exchange[] = [];
  readonly #onEnd: (error: Error | undefined) => void;
  readonly #patience = new Patience();
  /** Undefined: as the caller has set the descriptor. */
  #waiting: boolean | undefined;
  #watch: Watch | undefined;
  /** Set by `block`: tells whether to stop. */
  #shouldStop: (() => boolean) | undefined;
  #open = true;

  /**
   * @param fd - Stays the caller's.
   * @param maxWrite - Of the session, in bytes.
   * @param onEnd - The connection is gone: because of an unmount, or the given error.
   */
  constructor(
    fd: number,
    session: Session,
    maxWrite: number,
    onEnd: (error: Error | undefined) => void,
  ) {
    this.#fd = fd;
    this.#session = session;
    // The kernel refuses to read into less than the largest WRITE with its headers.
    this.#size = Math.max(maxWrite + 4096, FUSE_MIN_READ_BUFFER);
    this.#onEnd = onEnd;
  }

  /** Serves from the event loop. The descriptor must be non-blocking. */
  watch(): void {
    if (this.#open) this.#watch ??= watchReadable(this.#fd, () => this.#serveBatch());
  }

  /**
   * Serves until the connection ends or `shouldStop` says so, which is asked after each request and when
   * a signal ends the wait. Returns earlier when it has to watch; it comes back by itself.
   */
  block(shouldStop: () => boolean): void {
    this.#shouldStop = shouldStop;
    this.blockUntil(() => shouldStop() || this.#session.pending > 0);
    if (!this.#open) return;
    if (shouldStop()) this.#end(undefined);
    // Outside the watch's native callback, which ends the process when its JavaScript is terminated.
    else this.#watch = watchReadable(this.#fd, () => setImmediate(this.#serveWatched));
    if (this.#watch !== undefined) this.onWatch(true);
  }

  /** Told when a thread that blocks begins to watch, and so to run its event loop, or to wait again. */
  onWatch: (watches: boolean) => void = () => {};

  /** Serves, waiting in read(2), until the connection ends or `condition` holds. */
  blockUntil(condition: () => boolean): void {
    while (this.#open && !condition()) {
      if (this.#patience.pays) this.#serveAwake();
      else this.#serveAfterSleep();
    }
    if (this.#open) this.#setWaiting(false);
  }

  /** Serves a request without sleeping, unless none comes for too long. */
  #serveAwake(): void {
    this.#setWaiting(false);
    if (this.#serveOne() || !this.#open) return;
    const since = performance.now();
    for (;;) {
      yieldProcessor();
      if (this.#serveOne() || !this.#open) return;
      const now = performance.now();
      if (!this.#patience.isOver(now - since)) continue;
      this.#patience.failed(now - since, now);
      return;
    }
  }

  #serveAfterSleep(): void {
    this.#setWaiting(true);
    const since = performance.now();
    const exchange = this.#idle.pop() ?? this.#newExchange();
    const length = exchange.receive();
    const errno = length === -1 ? lastErrno() : 0;
    const now = performance.now();
    this.#patience.slept(now - since, now);
    this.#received(exchange, length, errno);
  }

  /** Whether a read waits for a request. */
  #setWaiting(waiting: boolean): void {
    if (this.#waiting === waiting) return;
    setNonBlocking(this.#fd, !waiting);
    this.#waiting = waiting;
  }

  /** Serves what is there, without waiting. The descriptor must be non-blocking. */
  serveAvailable(): void {
    while (this.#open && this.#serveOne());
  }

  readonly #serveWatched = (): void => {
    // It may have ended since this was put off.
    if (this.#watch === undefined) return;
    this.#serveBatch();
    if (!this.#open || this.#shouldStop === undefined || this.#session.pending > 0) return;
    this.#unwatch();
    this.onWatch(false);
    this.block(this.#shouldStop);
  };

  #serveBatch(): void {
    for (let served = 0; served < BATCH && this.#open; served++) {
      if (!this.#serveOne()) return;
    }
  }

  /** False when there was no request. */
  #serveOne(): boolean {
    const exchange = this.#idle.pop() ?? this.#newExchange();
    const length = exchange.receive();
    return this.#received(exchange, length, length === -1 ? lastErrno() : 0);
  }

  #received(exchange: Exchange, length: number, failure: number): boolean {
    if (length > 0) {
      exchange.serve(this.#session, length);
      return true;
    }
    const errno = length === 0 ? ENODEV : failure;
    this.#idle.push(exchange);
    if (errno === EAGAIN) return false;
    // The request was interrupted before it was read, or this thread was: there may be others.
    if (errno === ENOENT || errno === EINTR) return true;
    this.#end(errno === ENODEV ? undefined : new SystemCallError("read", errno, "/dev/fuse"));
    return false;
  }

  #newExchange(): Exchange {
    return new Exchange(this.#fd, this.#size, (exchange, length) => {
      // Once closed, the descriptor's number may be another file's.
      const errno = length === 0 || !this.#open ? 0 : exchange.send(length);
      this.#idle.push(exchange);
      // ENOENT: the caller was interrupted and waits no more. ENODEV shows at the next read too.
      if (errno === 0 || errno === ENOENT || errno === ENODEV) return;
      this.#end(new SystemCallError("write", errno, "to /dev/fuse"));
    });
  }

  #end(error: Error | undefined): void {
    if (!this.#open) return;
    this.close();
    this.#onEnd(error);
  }

  #unwatch(): void {
    this.#watch?.close();
    this.#watch = undefined;
  }

  /** Stops serving; the descriptor stays open. */
  close(): void {
    this.#open = false;
    this.#unwatch();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
