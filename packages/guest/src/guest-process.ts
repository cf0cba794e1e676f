import { type Duplex, Readable, Writable } from "node:stream";
import { AgentError, type GuestErrorCode } from "./errors.js";
import { encodeTerminalSize } from "./exec-request.js";
import { encodeFrame, FRAME_DATA_MAX, FrameDecoder, FrameType, STDIN_WINDOW } from "./frames.js";

/** How a process in the guest ended. */
export interface ExitStatus {
  /** Exit code, or `null` when a signal ended the process. */
  code: number | null;
  /** Number of the signal (Linux x86-64) that ended the process, else `null`. */
  signal: number | null;
  /** The process was killed because its `timeoutMs` had passed. */
  timedOut: boolean;
  /** Largest resident set of the process and of the children it waited for, in KiB. */
  peakRssKiB: number;
  /** From the fork to the exit, in milliseconds of the guest's clock. */
  durationMs: number;
}

/** Everything a process wrote, and how it ended. */
export interface ProcessOutput extends ExitStatus {
  stdout: Buffer;
  stderr: Buffer;
}

const ERROR_CODES: Readonly<Record<number, GuestErrorCode>> = {
  1: "ERR_AGENT_PROTOCOL",
  2: "ERR_EXEC_NOT_FOUND",
  3: "ERR_EXEC_NOT_EXECUTABLE",
  4: "ERR_EXEC_UNKNOWN_USER",
  5: "ERR_EXEC_CWD",
  6: "ERR_EXEC_RESOURCES",
  7: "ERR_EXEC_FILE",
};

/**
 * A process in the guest, over a connection of its own. Read `stdout` and `stderr`, or call `resume()` on them:
 * as with a pipe, a process whose output nobody takes stops when the buffers are full.
 */
export class GuestProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Process id in the guest, once the program runs. */
  readonly started: Promise<number>;
  /**
   * Settles once the process has ended and its output has arrived. Output that processes left behind write
   * later than 250 ms after that is not waited for. Rejects with {@link AgentError} when the program could
   * not be started (ERR_EXEC_*), was aborted, or the connection was lost (ERR_AGENT_GONE).
   */
  readonly exited: Promise<ExitStatus>;

  #connection: Duplex | undefined;
  #credit = STDIN_WINDOW;
  #blockedWrite: (() => void) | undefined;
  readonly #early: Buffer[] = [];
  #paused = new Set<Readable>();
  #done = false;
  #resolveStarted: (pid: number) => void = () => {};
  #resolveExited: (status: ExitStatus) => void = () => {};
  #rejectStarted: (error: Error) => void = () => {};
  #rejectExited: (error: Error) => void = () => {};
  #release: () => void = () => {};

  /** Use {@link AgentClient.exec}. */
  constructor(
    connection: Promise<Duplex>,
    execFrame: Buffer,
    hasStdin: boolean,
    signal?: AbortSignal,
  ) {
    this.started = new Promise((resolve, reject) => {
      this.#resolveStarted = resolve;
      this.#rejectStarted = reject;
    });
    this.exited = new Promise((resolve, reject) => {
      this.#resolveExited = resolve;
      this.#rejectExited = reject;
    });
    // Callers look at one of the two; the other must not end the host process.
    this.started.catch(() => {});
    this.exited.catch(() => {});

    this.stdout = this.#outputStream();
    this.stderr = this.#outputStream();
    this.stdin = new Writable({
      highWaterMark: FRAME_DATA_MAX,
      write: (chunk: Buffer, _encoding, done) => this.#writeStdin(chunk, 0, done),
      final: (done) => {
        this.#send(FrameType.STDIN_CLOSE);
        done();
      },
    });
    if (!hasStdin) this.stdin.destroy();

    const onAbort = () =>
      this.#fail(
        new AgentError("ERR_EXEC_ABORTED", "the process was aborted", { cause: signal?.reason }),
      );
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#release = () => signal?.removeEventListener("abort", onAbort);
    connection.then(
      (stream) => this.#attach(stream, execFrame),
      (error: unknown) =>
        this.#fail(
          error instanceof AgentError
            ? error
            : new AgentError("ERR_AGENT_GONE", "cannot connect to the agent", { cause: error }),
        ),
    );
    if (signal?.aborted) onAbort();
  }

  /** Sends a signal, by its Linux number, to the process group. Does nothing once the process has ended. */
  signal(number: number): void {
    if (!Number.isInteger(number) || number < 1 || number > 64) {
      throw new AgentError("ERR_EXEC_INVALID", `${number} is no signal number (1 to 64)`);
    }
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(number);
    this.#send(FrameType.SIGNAL, payload);
  }

  /** Tells the terminal its new size in character cells. */
  resize(columns: number, rows: number): void {
    this.#send(FrameType.RESIZE, encodeTerminalSize({ columns, rows }));
  }

  /** Lets go of the process: its group is killed, unless it was started with `keep`. */
  close(): void {
    this.#fail(new AgentError("ERR_EXEC_ABORTED", "the process was closed by its owner"));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Collects all output.
   *
   * @param maxBytes most bytes of stdout and stderr together that are kept.
   * @throws {@link AgentError} as `exited` rejects; ERR_EXEC_OUTPUT_LIMIT (the process is killed) beyond `maxBytes`.
   */
  async output(maxBytes = 64 * 1024 * 1024): Promise<ProcessOutput> {
    const chunks: { stdout: Buffer[]; stderr: Buffer[] } = { stdout: [], stderr: [] };
    let size = 0;
    for (const name of ["stdout", "stderr"] as const) {
      this[name].on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size <= maxBytes) {
          chunks[name].push(chunk);
          return;
        }
        this.#fail(
          new AgentError("ERR_EXEC_OUTPUT_LIMIT", `the process wrote over ${maxBytes} bytes`),
        );
      });
    }
    const status = await this.exited;
    await Promise.all([ended(this.stdout), ended(this.stderr)]);
    return {
      ...status,
      stdout: Buffer.concat(chunks.stdout),
      stderr: Buffer.concat(chunks.stderr),
    };
  }

  #attach(stream: Duplex, execFrame: Buffer): void {
    if (this.#done) {
      stream.destroy();
      return;
    }
    this.#connection = stream;
    const decoder = new FrameDecoder((type, payload) => this.#onFrame(type, payload));
    stream.on("data", (chunk: Buffer) => {
      try {
        decoder.push(chunk);
      } catch (error) {
        this.#fail(error as Error);
      }
    });
    const lost = (cause?: Error) =>
      this.#fail(
        new AgentError("ERR_AGENT_GONE", "the connection to the process was lost", { cause }),
      );
    stream.on("error", lost);
    stream.on("end", () => lost());
    stream.on("close", () => lost());
    stream.write(execFrame);
    for (const frame of this.#early.splice(0)) stream.write(frame);
  }

  #send(type: number, payload?: Uint8Array): void {
    if (this.#done) return;
    const frame = encodeFrame(type, payload);
    if (this.#connection) this.#connection.write(frame);
    else this.#early.push(frame);
  }

  #writeStdin(chunk: Buffer, start: number, done: () => void): void {
    let at = start;
    while (at < chunk.length && this.#credit > 0) {
      const length = Math.min(chunk.length - at, this.#credit, FRAME_DATA_MAX);
      this.#send(FrameType.STDIN, chunk.subarray(at, at + length));
      this.#credit -= length;
      at += length;
    }
    if (at === chunk.length) done();
    else this.#blockedWrite = () => this.#writeStdin(chunk, at, done);
  }

  #outputStream(): Readable {
    const stream: Readable = new Readable({
      highWaterMark: FRAME_DATA_MAX,
      read: () => this.#unpause(stream),
      // A stream its reader has destroyed must not hold up the other one.
      destroy: (error, done) => {
        this.#unpause(stream);
        done(error);
      },
    });
    return stream;
  }

  #unpause(stream: Readable): void {
    if (this.#paused.delete(stream) && this.#paused.size === 0) this.#connection?.resume();
  }

  #output(stream: Readable, payload: Buffer): void {
    if (stream.destroyed || stream.push(payload)) return;
    this.#paused.add(stream);
    this.#connection?.pause();
  }

  #onFrame(type: number, payload: Buffer): void {
    if (this.#done) return;
    switch (type) {
      case FrameType.STDOUT:
        this.#output(this.stdout, payload);
        return;
      case FrameType.STDERR:
        this.#output(this.stderr, payload);
        return;
      case FrameType.STDIN_CREDIT: {
        this.#credit = Math.min(STDIN_WINDOW, this.#credit + field(payload, 0));
        const resume = this.#blockedWrite;
        this.#blockedWrite = undefined;
        resume?.();
        return;
      }
      case FrameType.STARTED:
        this.#resolveStarted(field(payload, 0));
        return;
      case FrameType.EXIT:
        this.#exit(payload);
        return;
      case FrameType.ERROR:
        this.#fail(decodeError(payload));
        return;
      default:
        throw new AgentError(
          "ERR_AGENT_PROTOCOL",
          `frame type 0x${type.toString(16)} does not belong on the connection of a process`,
        );
    }
  }

  #exit(payload: Buffer): void {
    if (payload.length < 32) {
      throw new AgentError("ERR_AGENT_PROTOCOL", "the agent sent an EXIT frame that is too short");
    }
    const killed = field(payload, 0) === 1;
    const value = field(payload, 4);
    this.#resolveExited({
      code: killed ? null : value,
      signal: killed ? value : null,
      timedOut: field(payload, 8) !== 0,
      peakRssKiB: Number(payload.readBigUInt64LE(16)),
      durationMs: Number(payload.readBigUInt64LE(24)) / 1000,
    });
    this.#end();
  }

  #fail(error: Error): void {
    if (this.#done) return;
    this.#rejectStarted(error);
    this.#rejectExited(error);
    this.#end();
  }

  #end(): void {
    this.#done = true;
    this.#release();
    this.#blockedWrite = undefined;
    this.stdin.destroy();
    // The rejection of `exited` tells what happened; an error on the streams too would need a listener each.
    if (!this.stdout.destroyed) this.stdout.push(null);
    if (!this.stderr.destroyed) this.stderr.push(null);
    this.#connection?.destroy();
  }
}

/** Waits until a stream has handed everything on. */
async function ended(stream: Readable): Promise<void> {
  if (stream.readableEnded || stream.destroyed) return;
  await new Promise<void>((resolve) => {
    stream.once("end", resolve);
    stream.once("close", resolve);
  });
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
  return new AgentError(code, payload.toString("utf8", 8), errno ? { errno } : {});
}
