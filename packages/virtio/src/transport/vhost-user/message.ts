import { closeFd, type UnixSocket } from "@supermachine-internal/libc";
import { VhostUserError } from "./error.js";
import {
  messageHeader,
  type RequestShape,
  requestShapes,
  VHOST_USER_NEED_REPLY_MASK,
  VHOST_USER_REPLY_MASK,
  VHOST_USER_VERSION,
  VHOST_USER_VERSION_MASK,
} from "./protocol.js";

/** A request of the front-end, checked against the shape of its kind. It owns its descriptors. */
export class VhostUserMessage implements Disposable {
  readonly request: number;
  readonly shape: RequestShape;
  readonly payload: Buffer;
  readonly #flags: number;
  readonly #fds: number[];

  constructor(request: number, shape: RequestShape, flags: number, payload: Buffer, fds: number[]) {
    this.request = request;
    this.shape = shape;
    this.payload = payload;
    this.#flags = flags;
    this.#fds = fds;
  }

  /** The front-end waits for a u64 that says whether this request was done (REPLY_ACK). */
  get needsAcknowledgement(): boolean {
    return (this.#flags & VHOST_USER_NEED_REPLY_MASK) !== 0 && !this.shape.answered;
  }

  get fdCount(): number {
    return this.#fds.length;
  }

  /** Hands the next descriptor over to the caller. */
  takeFd(): number | undefined {
    return this.#fds.shift();
  }

  /** The payload of the many requests that carry one u64. */
  get u64(): bigint {
    return this.payload.readBigUInt64LE(0);
  }

  /** Closes the descriptors that nobody took. */
  [Symbol.dispose](): void {
    for (const fd of this.#fds.splice(0)) closeFd(fd);
  }
}

/** Cuts the byte stream of a front-end into messages; what does not fit any request is an error. */
export class MessageReader implements Disposable {
  readonly #socket: UnixSocket;
  readonly #header = Buffer.alloc(messageHeader.size);
  #payload: Buffer | undefined;
  #shape: RequestShape | undefined;
  /** Bytes that have arrived of the header, or of the payload once that exists. */
  #filled = 0;
  #fds: number[] = [];

  constructor(socket: UnixSocket) {
    this.#socket = socket;
  }

  /**
   * The next message; `undefined` when it has not arrived in full, `"end"` when the front-end has
   * hung up between two messages. Throws {@link VhostUserError} for bytes that are no request.
   */
  next(): VhostUserMessage | "end" | undefined {
    // Header and payload are read apart, never beyond this message, so that descriptors that come with
    // the next one cannot be taken for this one's.
    if (this.#payload === undefined) {
      const state = this.#fill(this.#header);
      if (state !== "full") return state;
      this.#beginPayload();
    }
    const shape = this.#shape;
    const payload = this.#payload;
    if (shape === undefined || payload === undefined) return undefined;
    const state = this.#fill(payload);
    if (state === "end")
      throw new VhostUserError("ERR_VIRTIO_VHOST_USER_MESSAGE", `${shape.name} is cut off`);
    if (state !== "full") return undefined;
    if (this.#fds.length > shape.fds) {
      throw new VhostUserError(
        "ERR_VIRTIO_VHOST_USER_MESSAGE",
        `${shape.name} came with ${this.#fds.length} file descriptors, at most ${shape.fds} belong to it`,
      );
    }
    const { request, flags } = messageHeader.decode(this.#header);
    const message = new VhostUserMessage(request, shape, flags, payload, this.#fds);
    this.#payload = undefined;
    this.#filled = 0;
    this.#fds = [];
    return message;
  }

  #fill(bytes: Buffer): "full" | "end" | undefined {
    while (this.#filled < bytes.length) {
      const length = this.#socket.receive(bytes.subarray(this.#filled), this.#fds);
      if (length === undefined) return undefined;
      if (length === 0) {
        if (this.#payload === undefined && this.#filled > 0) {
          throw new VhostUserError("ERR_VIRTIO_VHOST_USER_MESSAGE", "a message header is cut off");
        }
        return "end";
      }
      this.#filled += length;
    }
    return "full";
  }

  #beginPayload(): void {
    const { request, flags, size } = messageHeader.decode(this.#header);
    const fault = (reason: string) => new VhostUserError("ERR_VIRTIO_VHOST_USER_MESSAGE", reason);
    if ((flags & VHOST_USER_VERSION_MASK) !== VHOST_USER_VERSION) {
      throw fault(
        `request ${request} has protocol version ${flags & VHOST_USER_VERSION_MASK}, not 1`,
      );
    }
    if (flags & VHOST_USER_REPLY_MASK) {
      throw fault(`request ${request} is flagged as a reply, but nothing was asked`);
    }
    const shape = requestShapes.get(request);
    if (shape === undefined) throw fault(`request ${request} is unknown or was not offered`);
    if (size < shape.minimum || size > shape.maximum) {
      const expected =
        shape.minimum === shape.maximum
          ? `${shape.minimum}`
          : `${shape.minimum} to ${shape.maximum}`;
      throw fault(`${shape.name} has ${size} bytes of payload, expected ${expected}`);
    }
    this.#shape = shape;
    this.#payload = Buffer.alloc(size);
    this.#filled = 0;
  }

  /** Closes descriptors of a message that never became complete. */
  [Symbol.dispose](): void {
    for (const fd of this.#fds.splice(0)) closeFd(fd);
  }
}
