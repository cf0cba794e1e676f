import type { Duplex } from "node:stream";
import { AnswerWatch, type Patience } from "./answer-watch.js";
import { AgentError, type GuestErrorCode } from "./errors.js";
import { encodeFrame, FRAME_DATA_MAX, FrameDecoder, FrameType, STDIN_WINDOW } from "./frames.js";

/** How a process in the guest ended. */
export interface ExitStatus {
  /** Exit code, or `null` when a signal ended the process. */
  code: number | null;
  /** Number of the signal (Linux) that ended the process, else `null`. */
  signal: number | null;
  /** The process was killed because its `timeoutMs` had passed. */
  timedOut: boolean;
  /** Largest resident set of the process and of the children it waited for, in KiB. */
  peakRssKiB: number;
  /** From the fork to the exit, in milliseconds of the guest's clock. */
  durationMs: number;
}

/** Called as things happen on a connection. After the last command's exit, or a failure, nothing is. */
export interface ExecHandlers {
  started(pid: number): void;
  /** False pauses the connection until {@link ExecConnection.resume}. */
  output(stream: "stdout" | "stderr", bytes: Buffer): boolean;
  exited(status: ExitStatus, last: boolean): void;
  failed(error: AgentError): void;
}

/** A request, ready to be sent. */
export interface EncodedRequest {
  /** Payload of the EXEC frame. */
  readonly payload: Buffer;
  readonly staged: readonly Uint8Array[];
  readonly commandCount: number;
  /** 0 for none. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

interface Input {
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly done: () => void;
  sent: number;
}

const ERROR_CODES: Readonly<Record<number, GuestErrorCode>> = {
  1: "ERR_AGENT_PROTOCOL",
  2: "ERR_EXEC_NOT_FOUND",
  3: "ERR_EXEC_NOT_EXECUTABLE",
  4: "ERR_EXEC_UNKNOWN_USER",
  5: "ERR_EXEC_CWD",
  6: "ERR_EXEC_RESOURCES",
  7: "ERR_EXEC_FILE",
  8: "ERR_EXEC_INVALID",
};
const KIND_TOO_LARGE = 8;
const NOTHING = new Uint8Array(0);

/** One exec connection: a request, what goes into its processes, and what comes out of them. */
export class ExecConnection {
  readonly #handlers: ExecHandlers;
  readonly #request: EncodedRequest;
  readonly #watch: AnswerWatch;
  readonly #connecting = new AbortController();
  readonly #input: Input[] = [];
  readonly #early: Buffer[] = [];
  readonly #onAbort: () => void;
  #connection: Duplex | undefined;
  #credit = STDIN_WINDOW;
  #exits = 0;
  #done = false;

  /** The handlers are called in later turns of the event loop only. */
  constructor(
    connect: (signal: AbortSignal) => Promise<Duplex>,
    request: EncodedRequest,
    patience: Patience,
    handlers: ExecHandlers,
  ) {
    this.#handlers = handlers;
    this.#request = request;
    this.#watch = new AnswerWatch(
      patience,
      request.timeoutMs,
      () => this.#ping(),
      (error) => this.close(error),
    );
    for (const bytes of request.staged) this.#give(FrameType.STAGE, bytes, () => {});
    const { signal } = request;
    this.#onAbort = () =>
      this.close(
        new AgentError("ERR_EXEC_ABORTED", "the process was aborted", { cause: signal?.reason }),
      );
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    void this.#open(connect);
  }

  /** Sends a frame of the few that need no credit. */
  send(type: number, payload: Uint8Array): void {
    if (this.#done) return;
    const frame = encodeFrame(type, payload);
    if (this.#connection) this.#connection.write(frame);
    else this.#early.push(frame);
  }

  /** Sends bytes of stdin; `done` is called when the guest has room for more, never after the end. */
  write(bytes: Uint8Array, done: () => void): void {
    this.#give(FrameType.STDIN, bytes, done);
  }

  /** Ends stdin, after all that was written. */
  end(): void {
    this.#give(FrameType.STDIN_CLOSE, NOTHING, () => {});
  }

  /** After a handler has refused more output. */
  resume(): void {
    if (!this.#watch.held) return;
    this.#watch.held = false;
    this.#connection?.resume();
  }

  /** Lets go of the request, which kills what it started unless it is to be kept. Idempotent. */
  close(error: AgentError): void {
    if (this.#done) return;
    this.#finish();
    this.#handlers.failed(error);
  }

  async #open(connect: (signal: AbortSignal) => Promise<Duplex>): Promise<void> {
    try {
      // A request that was aborted before it was made reaches no guest.
      if (this.#request.signal?.aborted) {
        await Promise.resolve();
        this.#onAbort();
        return;
      }
      this.#attach(await connect(this.#connecting.signal));
    } catch (cause) {
      const error = connectError(cause);
      // The guest of a paused machine does not take connections; it is asked again until it runs.
      if (error.code === "ERR_AGENT_TIMEOUT" && !this.#done && (await this.#watch.isPaused())) {
        await this.#open(connect);
      } else {
        this.close(error);
      }
    }
  }

  #attach(stream: Duplex): void {
    if (this.#done) {
      stream.on("error", () => {}).destroy();
      return;
    }
    this.#connection = stream;
    const decoder = new FrameDecoder((type, payload) => this.#onFrame(type, payload));
    stream.on("data", (chunk: Buffer) => {
      this.#watch.heard();
      try {
        decoder.push(chunk);
      } catch (error) {
        this.close(error as AgentError);
      }
    });
    const lost = (cause?: Error) =>
      this.close(
        new AgentError("ERR_AGENT_GONE", "the connection to the process was lost", { cause }),
      );
    stream.on("error", lost);
    stream.on("end", () => lost());
    stream.on("close", () => lost());
    stream.write(encodeFrame(FrameType.EXEC, this.#request.payload));
    for (const frame of this.#early.splice(0)) stream.write(frame);
    this.#pump();
  }

  #ping(): void {
    this.#connection?.write(encodeFrame(FrameType.PING, Buffer.alloc(8)));
  }

  #give(type: number, bytes: Uint8Array, done: () => void): void {
    if (this.#done) return;
    this.#input.push({ type, bytes, done, sent: 0 });
    this.#pump();
  }

  /** Sends as much input as there is credit for, in the order in which it was given. */
  #pump(): void {
    for (let input = this.#input[0]; input && this.#connection; input = this.#input[0]) {
      if (input.type === FrameType.STDIN_CLOSE) this.send(input.type, NOTHING);
      while (input.sent < input.bytes.length) {
        const length = Math.min(input.bytes.length - input.sent, this.#credit, FRAME_DATA_MAX);
        if (length === 0) return;
        this.send(input.type, input.bytes.subarray(input.sent, input.sent + length));
        this.#credit -= length;
        input.sent += length;
      }
      this.#input.shift();
      input.done();
    }
  }

  #output(name: "stdout" | "stderr", payload: Buffer): void {
    if (this.#handlers.output(name, payload)) return;
    this.#watch.held = true;
    this.#connection?.pause();
  }

  #onFrame(type: number, payload: Buffer): void {
    if (this.#done) return;
    switch (type) {
      case FrameType.STDOUT:
        this.#output("stdout", payload);
        return;
      case FrameType.STDERR:
        this.#output("stderr", payload);
        return;
      case FrameType.STDIN_CREDIT:
        this.#credit = Math.min(STDIN_WINDOW, this.#credit + field(payload, 0));
        this.#pump();
        return;
      case FrameType.PONG:
        return;
      case FrameType.STARTED:
        this.#handlers.started(field(payload, 0));
        return;
      case FrameType.EXIT: {
        const last = field(payload, 12) === 0;
        this.#exits++;
        if (!last && this.#exits >= this.#request.commandCount) {
          throw new AgentError("ERR_AGENT_PROTOCOL", "the agent ran more commands than asked for");
        }
        const status = decodeExit(payload);
        if (last) this.#finish();
        this.#handlers.exited(status, last);
        return;
      }
      case FrameType.ERROR:
        this.close(decodeError(payload));
        return;
      default:
        throw new AgentError(
          "ERR_AGENT_PROTOCOL",
          `frame type 0x${type.toString(16)} does not belong on the connection of a process`,
        );
    }
  }

  #finish(): void {
    this.#done = true;
    this.#watch.close();
    this.#request.signal?.removeEventListener("abort", this.#onAbort);
    this.#input.length = 0;
    this.#connecting.abort();
    this.#connection?.destroy();
  }
}

function connectError(cause: unknown): AgentError {
  if (cause instanceof AgentError) return cause;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  if (code.endsWith("_TIMEOUT")) {
    return new AgentError("ERR_AGENT_TIMEOUT", "the guest does not take connections; it hangs", {
      cause,
    });
  }
  if (code.endsWith("_TOO_MANY_CONNECTIONS")) {
    const message = "the machine has no room for another connection; wait for commands to end";
    return new AgentError("ERR_EXEC_RESOURCES", message, { cause });
  }
  return new AgentError("ERR_AGENT_GONE", "cannot connect to the agent", { cause });
}

function decodeExit(payload: Buffer): ExitStatus {
  if (payload.length < 32) {
    throw new AgentError("ERR_AGENT_PROTOCOL", "the agent sent an EXIT frame that is too short");
  }
  const killed = field(payload, 0) === 1;
  const value = field(payload, 4);
  return {
    code: killed ? null : value,
    signal: killed ? value : null,
    timedOut: field(payload, 8) !== 0,
    peakRssKiB: Number(payload.readBigUInt64LE(16)),
    durationMs: Number(payload.readBigUInt64LE(24)) / 1000,
  };
}

/** A u32 of a frame whose length the agent may have got wrong. */
function field(payload: Buffer, offset: number): number {
  if (payload.length < offset + 4) {
    throw new AgentError("ERR_AGENT_PROTOCOL", "the agent sent a frame that is too short");
  }
  return payload.readUInt32LE(offset);
}

function decodeError(payload: Buffer): AgentError {
  const kind = field(payload, 0);
  const errno = field(payload, 4);
  const code = ERROR_CODES[kind] ?? "ERR_AGENT_PROTOCOL";
  const advice = kind === KIND_TOO_LARGE ? "; use stdin or a staged file" : "";
  return new AgentError(code, payload.toString("utf8", 8) + advice, errno ? { errno } : {});
}
