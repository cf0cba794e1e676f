import type { Socket } from "node:net";
import { EACCES, EPROTO, fuse_in_header } from "@supermachine/fuse-protocol";
import { FuseError } from "../error.js";
import type { Logger } from "../logger.js";
import type { Session } from "../session.js";
import { FrameReader } from "./frames.js";
import { decodeGreeting, encodeAnswer, LONGEST_GREETING, SHORTEST_GREETING } from "./greeting.js";

/** The longest message: a write of 1 MiB with its headers. */
export const LONGEST_FRAME = 2 ** 20 + 4096;
/** Most backends answer at once, and then one is in use at a time. */
const IDLE_BUFFERS = 2;

/** What one client may occupy of a server. */
export interface StreamLimits {
  /** Requests in flight, beyond which it is read no further. */
  readonly maxPending: number;
  /** Bytes of requests in flight and of room for their replies, likewise. */
  readonly maxPendingBytes: number;
  /** Bytes of replies that it has not read, likewise. */
  readonly maxUnsentBytes: number;
  /** Milliseconds in which it must have read some of them, and in which it must have greeted. */
  readonly stallMs: number;
}

/** Gives a client its session: for the root that it named, if clients of this server do. */
export type SessionFactory = (root: string | undefined) => Session;

/** One client of a `StreamServer`. */
export class StreamPeer {
  readonly #socket: Socket;
  readonly #limits: StreamLimits;
  readonly #logger: Logger;
  readonly #createSession: SessionFactory;
  readonly #frames: FrameReader;
  readonly #idle: Buffer[] = [];
  #session: Session | undefined;
  /** How the log calls it. */
  #name = "a client of the FUSE socket";
  #pending = 0;
  #pendingBytes = 0;
  #stall: NodeJS.Timeout | undefined;
  /** Bytes that it had read when the clock was last set. */
  #readAtStall = 0;

  constructor(
    socket: Socket,
    createSession: SessionFactory,
    greets: boolean,
    limits: StreamLimits,
    logger: Logger,
  ) {
    this.#socket = socket;
    this.#limits = limits;
    this.#logger = logger;
    this.#createSession = createSession;
    this.#frames = new FrameReader(fuse_in_header.size, LONGEST_FRAME, (frame) => {
      if (this.#session === undefined) this.#greeted(frame);
      else this.#serve(this.#session, frame);
    });
    if (greets) this.#awaitGreeting();
    else this.#begin(undefined);
    socket.on("data", (chunk: Buffer) => {
      try {
        if (!socket.destroyed) this.#frames.push(chunk);
      } catch (error) {
        this.#drop(error instanceof Error ? error.message : String(error));
      }
    });
    socket.on("drain", () => this.#throttle());
    socket.on("error", (error) => logger.warn(`lost ${this.#name}`, error));
    socket.on("end", () => {
      if (this.#frames.isPartial) logger.warn(`${this.#name} left in the middle of a message`);
    });
    socket.on("close", () => {
      clearTimeout(this.#stall);
      this.#session?.close();
    });
  }

  #awaitGreeting(): void {
    this.#frames.expect(SHORTEST_GREETING, LONGEST_GREETING);
    const { stallMs } = this.#limits;
    this.#stall = setTimeout(() => this.#drop(`it said nothing for ${stallMs} ms`), stallMs);
  }

  #greeted(greeting: Buffer): void {
    if (this.#socket.destroyed) return;
    clearTimeout(this.#stall);
    this.#stall = undefined;
    let root: string;
    try {
      root = decodeGreeting(greeting);
    } catch (error) {
      this.#socket.write(encodeAnswer(-EPROTO));
      throw error;
    }
    this.#name = `a client of ${JSON.stringify(root)}`;
    if (!this.#begin(root)) return;
    this.#frames.expect(fuse_in_header.size, LONGEST_FRAME);
    this.#socket.write(encodeAnswer(0));
  }

  #begin(root: string | undefined): boolean {
    try {
      this.#session = this.#createSession(root);
      return true;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#logger.warn(`refused ${this.#name}: ${reason}`, error);
      const errno = error instanceof FuseError ? error.errno : EACCES;
      if (root === undefined) this.#socket.destroy();
      else this.#socket.end(encodeAnswer(-errno), () => this.#socket.destroy());
      return false;
    }
  }

  #drop(reason: string): void {
    if (this.#socket.destroyed) return;
    this.#logger.warn(`dropped ${this.#name}: ${reason}`);
    this.#socket.destroy();
  }

  #serve(session: Session, frame: Buffer): void {
    if (this.#socket.destroyed) return;
    const room = this.#idle.pop() ?? Buffer.allocUnsafeSlow(LONGEST_FRAME);
    const bytes = frame.length + room.length;
    this.#pending++;
    this.#pendingBytes += bytes;
    session.handle([frame], [room], (length) => {
      this.#pending--;
      this.#pendingBytes -= bytes;
      // The socket keeps what it is given until it is sent; the room is used again at once.
      if (length > 0 && !this.#socket.destroyed)
        this.#socket.write(Buffer.from(room.subarray(0, length)));
      if (this.#idle.length < IDLE_BUFFERS) this.#idle.push(room);
      this.#throttle();
    });
    this.#throttle();
  }

  /** A client that sends faster than it is served, or does not read its replies, has to wait. */
  #throttle(): void {
    const { maxPending, maxPendingBytes, maxUnsentBytes } = this.#limits;
    const socket = this.#socket;
    const unsent = socket.writableLength >= maxUnsentBytes;
    const full = unsent || this.#pending >= maxPending || this.#pendingBytes >= maxPendingBytes;
    if (full && !socket.isPaused()) socket.pause();
    else if (!full && socket.isPaused()) socket.resume();
    if (socket.writableLength > 0) this.#watchForStall();
  }

  /** Drops the client unless it reads something in time. */
  #watchForStall(): void {
    if (this.#stall !== undefined) return;
    this.#readAtStall = this.#bytesRead;
    this.#stall = setTimeout(() => {
      this.#stall = undefined;
      if (this.#socket.destroyed || this.#socket.writableLength === 0) return;
      if (this.#bytesRead > this.#readAtStall) this.#watchForStall();
      else {
        const { stallMs } = this.#limits;
        const waiting = this.#socket.writableLength;
        this.#drop(`it has read nothing for ${stallMs} ms, and ${waiting} bytes wait for it`);
      }
    }, this.#limits.stallMs);
    this.#stall.unref();
  }

  /** What the kernel has taken for the client. */
  get #bytesRead(): number {
    return this.#socket.bytesWritten - this.#socket.writableLength;
  }
}
