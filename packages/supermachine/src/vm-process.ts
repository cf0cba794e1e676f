import type { Readable, Writable } from "node:stream";
import { type GuestProcess, LINUX_SIGNALS, type LinuxSignal } from "@supermachine/guest";
import { SupermachineError } from "./errors.js";
import { type ExecResult, type ExitResult, execResult, signalName } from "./exec-result.js";
import { webReadable, webWritable } from "./web-streams.js";

/** A piece of what a command printed. */
export interface OutputChunk {
  readonly stream: "stdout" | "stderr";
  readonly data: Uint8Array;
}

/** How much output an iteration holds that its reader has not yet taken. */
const ITERATION_WINDOW = 256 * 1024;

/**
 * A command that runs in a guest. Its output is taken in one of four ways: `output()`, the Web streams `stdout` and
 * `stderr`, the process itself as an iterable of chunks, or Node.js's `streams`. As with a pipe, a command
 * whose output nobody takes stops when the buffers are full.
 *
 * It is not a promise itself, so that an `async` function can return one: await `exited` or `output()`.
 */
export class VmProcess implements AsyncIterable<OutputChunk>, AsyncDisposable {
  /** Process id in the guest, once the program runs. */
  readonly pid: Promise<number>;
  /**
   * How the command ended, once its output has arrived. Rejects with the reason when it could not be started
   * (`ERR_EXEC_*`), was aborted, or when the guest is gone (`ERR_AGENT_GONE`) or does not answer
   * (`ERR_AGENT_TIMEOUT`, within 20 seconds).
   */
  readonly exited: Promise<ExitResult>;
  readonly #process: GuestProcess;
  #stdin: WritableStream<Uint8Array | string> | undefined;
  #stdout: ReadableStream<Uint8Array> | undefined;
  #stderr: ReadableStream<Uint8Array> | undefined;

  /** Use `vm.spawn`. */
  constructor(process: GuestProcess) {
    this.#process = process;
    this.pid = process.started;
    this.exited = process.exited.then((status) => ({
      ...status,
      signal: signalName(status.signal),
    }));
    // Whoever takes the output instead hears of it there.
    this.exited.catch(() => {});
  }

  /** Standard input of a command spawned with `stdin` or `tty`; rejects once nobody reads it. */
  get stdin(): WritableStream<Uint8Array | string> {
    this.#stdin ??= webWritable(this.#process.stdin);
    return this.#stdin;
  }

  /** Fails as `exited` rejects: a stream that closes is complete. */
  get stdout(): ReadableStream<Uint8Array> {
    this.#stdout ??= webReadable(this.#process.stdout, this.exited);
    return this.#stdout;
  }

  /** As `stdout`. Empty on a terminal. */
  get stderr(): ReadableStream<Uint8Array> {
    this.#stderr ??= webReadable(this.#process.stderr, this.exited);
    return this.#stderr;
  }

  /** The same three as streams of Node.js. They end also when `exited` rejects. */
  get streams(): {
    readonly stdin: Writable;
    readonly stdout: Readable;
    readonly stderr: Readable;
  } {
    return this.#process;
  }

  /**
   * Sends a signal, by name or by Linux's number, to the command's process group: SIGTERM unless given. SIGKILL
   * reaches all that the command started. Does nothing once it has ended.
   *
   * @throws `SupermachineError` ERR_OPTION for no such signal.
   */
  kill(signal: LinuxSignal | number = "SIGTERM"): void {
    const number = typeof signal === "number" ? signal : LINUX_SIGNALS[signal];
    if (!Number.isInteger(number) || number < 1 || number > 64) {
      throw new SupermachineError(
        "ERR_OPTION",
        `${signal} is no signal; use a name such as SIGTERM, or 1 to 64`,
      );
    }
    this.#process.signal(number);
  }

  /** Tells the terminal its new size in character cells. */
  resize(columns: number, rows: number): void {
    this.#process.resize(columns, rows);
  }

  /**
   * Collects what the command prints until its end. Rejects as `exited` does, and with ERR_EXEC_OUTPUT_LIMIT,
   * which kills the command, beyond `maxOutputBytes`: 64 MiB unless given.
   */
  async output(options: { readonly maxOutputBytes?: number } = {}): Promise<ExecResult> {
    return execResult(await this.#process.output(options.maxOutputBytes));
  }

  /**
   * What the command prints, as it comes. Throws as `exited` rejects. When the loop is left early, the rest of
   * the output is dropped and the command runs on.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<OutputChunk, void, undefined> {
    const { stdout, stderr } = this.#process;
    const queue: OutputChunk[] = [];
    let queued = 0;
    let open = 2;
    let wake = () => {};
    for (const stream of ["stdout", "stderr"] as const) {
      this.#process[stream].on("data", (data: Uint8Array) => {
        queue.push({ stream, data });
        queued += data.length;
        if (queued >= ITERATION_WINDOW) {
          stdout.pause();
          stderr.pause();
        }
        wake();
      });
      this.#process[stream].once("end", () => {
        open--;
        wake();
      });
    }
    try {
      for (;;) {
        for (let chunk = queue.shift(); chunk !== undefined; chunk = queue.shift()) {
          queued -= chunk.data.length;
          yield chunk;
        }
        if (open === 0) break;
        stdout.resume();
        stderr.resume();
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      await this.exited;
    } finally {
      for (const stream of [stdout, stderr]) stream.removeAllListeners("data").resume();
    }
  }

  /** Kills what still runs of the command. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.close();
  }
}
