import { AgentError } from "./errors.js";

// The host's half of agent/frame.h: frames of { u32 payload length, u8 type, payload }, little-endian.

/** Version spoken by this package; the agent's must be the same. */
export const PROTOCOL_VERSION = 2;
/** vsock port on which the host waits for the agent's control connection. */
export const CONTROL_PORT = 1024;
/** vsock port on which the agent waits for one connection per process. */
export const EXEC_PORT = 1025;

export const FRAME_HEADER_SIZE = 5;
/** Longest payload of STDIN, STAGE, STDOUT and STDERR. */
export const FRAME_DATA_MAX = 64 * 1024;
/** Longest payload of EXEC: all strings of a request together. */
export const FRAME_EXEC_MAX = 1024 * 1024;
/** Bytes of stdin and staged files that may be under way beyond what the agent has given credit for. */
export const STDIN_WINDOW = 128 * 1024;
const FRAME_SMALL_MAX = 1024;

/** Frame types; names and numbers as in agent/frame.h. */
export const FrameType = {
  EXEC: 0x01,
  STDIN: 0x02,
  STDIN_CLOSE: 0x03,
  SIGNAL: 0x04,
  RESIZE: 0x05,
  STAGE: 0x06,
  PING: 0x11,
  SHUTDOWN: 0x12,
  SYNC: 0x13,
  FREEZE: 0x14,
  THAW: 0x15,
  STARTED: 0x41,
  STDOUT: 0x42,
  STDERR: 0x43,
  EXIT: 0x44,
  ERROR: 0x45,
  STDIN_CREDIT: 0x46,
  HELLO: 0x51,
  PONG: 0x52,
  FAILED: 0x53,
  SYNCED: 0x54,
  FROZEN: 0x55,
  THAWED: 0x56,
} as const;

/** Builds one frame. */
export function encodeFrame(type: number, payload: Uint8Array = new Uint8Array(0)): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_SIZE + payload.length);
  frame.writeUInt32LE(payload.length, 0);
  frame[4] = type;
  frame.set(payload, FRAME_HEADER_SIZE);
  return frame;
}

/** The longest payload the guest may send in a frame of this type; -1 for types it may not send. */
function payloadLimit(type: number): number {
  if (type === FrameType.STDOUT || type === FrameType.STDERR) return FRAME_DATA_MAX;
  const known = (type >= 0x41 && type <= 0x46) || (type >= 0x51 && type <= 0x56);
  return known ? FRAME_SMALL_MAX : -1;
}

/**
 * Cuts the guest's byte stream into frames, in memory bounded by one frame. A payload that lies within one
 * chunk is handed on as a view of that chunk, without a copy.
 */
export class FrameDecoder {
  readonly #onFrame: (type: number, payload: Buffer) => void;
  readonly #header = Buffer.alloc(FRAME_HEADER_SIZE);
  #headerLength = 0;
  #payload: Buffer | undefined;
  #payloadLength = 0;

  constructor(onFrame: (type: number, payload: Buffer) => void) {
    this.#onFrame = onFrame;
  }

  /**
   * Takes the next bytes of the stream and calls back for each frame they complete.
   *
   * @throws {@link AgentError} ERR_AGENT_PROTOCOL for a frame the guest must not send. The stream has lost its
   * framing then; nothing more can be decoded.
   */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#headerLength < FRAME_HEADER_SIZE) {
        const taken = chunk.copy(this.#header, this.#headerLength, at);
        this.#headerLength += taken;
        at += taken;
        if (this.#headerLength < FRAME_HEADER_SIZE) return;
      }
      at = this.#takePayload(chunk, at);
    }
  }

  /** True between frames: the stream may end here without anything being lost. */
  get idle(): boolean {
    return this.#headerLength === 0;
  }

  #takePayload(chunk: Buffer, start: number): number {
    const length = this.#header.readUInt32LE(0);
    const type = this.#header.readUInt8(4);
    if (length > payloadLimit(type)) {
      throw new AgentError(
        "ERR_AGENT_PROTOCOL",
        `the agent sent a frame of type 0x${type.toString(16)} with ${length} bytes, which it may not`,
      );
    }
    if (!this.#payload && chunk.length - start >= length) {
      this.#headerLength = 0;
      this.#onFrame(type, chunk.subarray(start, start + length));
      return start + length;
    }
    this.#payload ??= Buffer.allocUnsafe(length);
    const taken = chunk.copy(this.#payload, this.#payloadLength, start);
    this.#payloadLength += taken;
    if (this.#payloadLength === length) {
      const payload = this.#payload;
      this.#payload = undefined;
      this.#payloadLength = this.#headerLength = 0;
      this.#onFrame(type, payload);
    }
    return start + taken;
  }
}
