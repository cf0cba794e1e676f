import { Readable, Writable } from "node:stream";
import { AgentError } from "./errors.js";
import type { ExecConnection, ExecHandlers, ExitStatus } from "./exec-connection.js";
import { encodeTerminalSize } from "./exec-request.js";
import { FRAME_DATA_MAX, FrameType } from "./frames.js";

/** Everything a process wrote, and how it ended. */
export interface ProcessOutput extends ExitStatus {
  stdout: Buffer;
  stderr: Buffer;
}

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
   * not be started (ERR_EXEC_*), was aborted, the connection was lost (ERR_AGENT_GONE), or the agent does not
   * answer (ERR_AGENT_TIMEOUT).
   */
  readonly exited: Promise<ExitStatus>;
  readonly #connection: ExecConnection;
  readonly #full = new Set<Readable>();

  /** Use {@link AgentClient.exec}. */
  constructor(open: (handlers: ExecHandlers) => ExecConnection, hasStdin: boolean) {
    const started = deferred<number>();
    const exited = deferred<ExitStatus>();
    this.started = started.promise;
    this.exited = exited.promise;
    this.stdout = this.#outputStream();
    this.stderr = this.#outputStream();
    this.#connection = open({
      started: started.resolve,
      output: (name, bytes) => this.#output(this[name], bytes),
      exited: (status) => {
        exited.resolve(status);
        this.#end();
      },
      failed: (error) => {
        started.reject(error);
        exited.reject(error);
        this.#end();
      },
    });
    this.stdin = new Writable({
      highWaterMark: FRAME_DATA_MAX,
      write: (chunk: Buffer, _encoding, done) => this.#connection.write(chunk, done),
      final: (done) => {
        this.#connection.end();
        done();
      },
    });
    if (!hasStdin) this.stdin.destroy();
  }

  /**
   * Sends a signal, by its Linux number, to the process group; SIGKILL reaches all that the process started.
   * Does nothing once the process has ended.
   */
  signal(number: number): void {
    if (!Number.isInteger(number) || number < 1 || number > 64) {
      throw new AgentError("ERR_EXEC_INVALID", `${number} is no signal number (1 to 64)`);
    }
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(number);
    this.#connection.send(FrameType.SIGNAL, payload);
  }

  /** Tells the terminal its new size in character cells. */
  resize(columns: number, rows: number): void {
    this.#connection.send(FrameType.RESIZE, encodeTerminalSize({ columns, rows }));
  }

  /** Lets go of the process: all that it started is killed, unless it was started with `keep`. */
  close(): void {
    this.#connection.close(
      new AgentError("ERR_EXEC_ABORTED", "the process was closed by its owner"),
    );
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
        if (size <= maxBytes) chunks[name].push(chunk);
        else this.#connection.close(outputLimit(maxBytes));
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

  #outputStream(): Readable {
    const stream: Readable = new Readable({
      highWaterMark: FRAME_DATA_MAX,
      read: () => this.#taken(stream),
      // A stream its reader has destroyed must not hold up the other one.
      destroy: (error, done) => {
        this.#taken(stream);
        done(error);
      },
    });
    return stream;
  }

  #output(stream: Readable, payload: Buffer): boolean {
    if (stream.destroyed || stream.push(payload)) return true;
    this.#full.add(stream);
    return false;
  }

  #taken(stream: Readable): void {
    if (this.#full.delete(stream) && this.#full.size === 0) this.#connection.resume();
  }

  #end(): void {
    this.stdin.destroy();
    // The rejection of `exited` tells what happened; an error on the streams too would need a listener each.
    if (!this.stdout.destroyed) this.stdout.push(null);
    if (!this.stderr.destroyed) this.stderr.push(null);
  }
}

export function outputLimit(maxBytes: number): AgentError {
  return new AgentError("ERR_EXEC_OUTPUT_LIMIT", `the process wrote over ${maxBytes} bytes`);
}

/** A promise of which nobody need take notice when it is rejected. */
function deferred<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  promise.catch(() => {});
  return { promise, resolve, reject };
}

/** Waits until a stream has handed everything on. */
async function ended(stream: Readable): Promise<void> {
  if (stream.readableEnded || stream.destroyed) return;
  await new Promise<void>((resolve) => {
    stream.once("end", resolve);
    stream.once("close", resolve);
  });
}
