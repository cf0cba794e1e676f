import { FUSE_MIN_READ_BUFFER } from "@supermachine/fuse-protocol";
import type { Session } from "@supermachine/fuse-server";
import { lastErrno, SystemCallError, type Watch, watchReadable } from "@supermachine-internal/libc";
import { read, write } from "./native.js";

// Linux errno numbers: /dev/fuse exists nowhere else.
const ENOENT = 2;
const EINTR = 4;
const EAGAIN = 11;
const ENODEV = 19;

/** Requests served before other work of the event loop gets its turn. */
const BATCH = 64;

/** Memory for one request and its reply. */
class Exchange {
  readonly #request: Uint8Array;
  readonly #reply: Uint8Array;
  readonly #input: Uint8Array[];
  readonly #output: Uint8Array[];
  readonly #fd: number;
  readonly #done: (exchange: Exchange, errno: number) => void;
  /** The session's callback: made once, not for each request. */
  readonly #complete = (length: number): void => {
    const written = length === 0 ? 0 : write(this.#fd, this.#reply, length);
    this.#done(this, written === -1 ? lastErrno() : 0);
  };

  constructor(fd: number, size: number, done: (exchange: Exchange, errno: number) => void) {
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
    // The request's own length field tells where it ends, but the session trusts only the buffer.
    this.#input[0] = this.#request.subarray(0, length);
    session.handle(this.#input, this.#output, this.#complete);
  }
}

/** Serves a /dev/fuse descriptor (non-blocking) from this thread's event loop, until it is unmounted. */
export class DeviceReader implements Disposable {
  readonly #fd: number;
  readonly #session: Session;
  readonly #size: number;
  readonly #watch: Watch;
  readonly #idle: Exchange[] = [];
  readonly #onEnd: (error: Error | undefined) => void;
  #open = true;

  /**
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
    this.#watch = watchReadable(fd, () => this.#serveBatch());
  }

  #serveBatch(): void {
    for (let served = 0; served < BATCH && this.#open; served++) {
      const exchange = this.#idle.pop() ?? this.#newExchange();
      const length = exchange.receive();
      if (length > 0) {
        exchange.serve(this.#session, length);
        continue;
      }
      const errno = length === 0 ? ENODEV : lastErrno();
      this.#idle.push(exchange);
      if (errno === EAGAIN) return;
      // The request was interrupted before it was read: there may be others.
      if (errno === ENOENT || errno === EINTR) continue;
      this.#end(errno === ENODEV ? undefined : new SystemCallError("read", errno, "/dev/fuse"));
    }
  }

  #newExchange(): Exchange {
    return new Exchange(this.#fd, this.#size, (exchange, errno) => {
      this.#idle.push(exchange);
      // ENOENT: the caller was interrupted and waits no more. ENODEV shows at the next read too.
      if (errno === 0 || errno === ENOENT || errno === ENODEV || !this.#open) return;
      this.#end(new SystemCallError("write", errno, "to /dev/fuse"));
    });
  }

  #end(error: Error | undefined): void {
    if (!this.#open) return;
    this.close();
    this.#onEnd(error);
  }

  /** Stops serving; the descriptor stays open. */
  close(): void {
    this.#open = false;
    this.#watch.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
