import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import type { VsockConnector } from "./connector.js";
import { ControlConnection, type Hello } from "./control-connection.js";
import { AgentError } from "./errors.js";
import { EXEC_BUILTIN, type ExecRequest, encodeExecRequest } from "./exec-request.js";
import { CONTROL_PORT, EXEC_PORT, encodeFrame, FrameType } from "./frames.js";
import { GuestProcess, type ProcessOutput } from "./guest-process.js";

/** Options of {@link AgentClient.accept}. */
export interface AcceptOptions {
  /** Milliseconds to wait for the guest to be up; 30000 unless given. */
  timeoutMs?: number;
  /** Gives up waiting when aborted. */
  signal?: AbortSignal;
}

/** A request together with what goes into and may come out of it. */
export interface RunRequest extends ExecRequest {
  /** Given to the process as its stdin. */
  input?: string | Uint8Array;
  /** Most bytes of stdout and stderr together; 64 MiB unless given. */
  maxOutputBytes?: number;
}

/** Options of {@link AgentClient.readFile} and {@link AgentClient.writeFile}. */
export interface FileOptions {
  /** As whom the file is opened; root unless given. */
  user?: string;
  signal?: AbortSignal;
}

/** The host's side of the agent in one guest. */
export class AgentClient {
  /** What the agent said when it was ready. */
  readonly hello: Hello;
  readonly #connector: VsockConnector;
  readonly #listener: Disposable;
  #control: ControlConnection;

  private constructor(connector: VsockConnector, listener: Disposable, control: ControlConnection) {
    this.#connector = connector;
    this.#listener = listener;
    this.#control = control;
    this.hello = control.hello;
  }

  /**
   * Waits until the agent says hello, then gives the guest the right time and fresh entropy. Call it before
   * the machine starts: an agent that finds nobody listening gives up after 10 seconds.
   *
   * @throws {@link AgentError} ERR_AGENT_TIMEOUT, ERR_AGENT_BOOT (the message names the step that failed in
   * the guest), ERR_AGENT_VERSION, ERR_AGENT_PROTOCOL, ERR_EXEC_ABORTED.
   */
  static async accept(
    connector: VsockConnector,
    options: AcceptOptions = {},
  ): Promise<AgentClient> {
    const { timeoutMs = 30_000, signal } = options;
    let onStream: (stream: Duplex) => void = (stream) => stream.destroy();
    const listener = connector.listen(CONTROL_PORT, (stream) => onStream(stream));
    const waiting = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    let onAbort: (() => void) | undefined;
    try {
      const control = await new Promise<ControlConnection>((resolve, reject) => {
        timer = setTimeout(
          () =>
            reject(
              new AgentError(
                "ERR_AGENT_TIMEOUT",
                `the agent did not report within ${timeoutMs} ms; the guest's console may tell why`,
              ),
            ),
          timeoutMs,
        );
        onAbort = () =>
          reject(
            new AgentError("ERR_EXEC_ABORTED", "waiting for the agent was aborted", {
              cause: signal?.reason,
            }),
          );
        signal?.addEventListener("abort", onAbort, { once: true });
        if (signal?.aborted) onAbort();
        onStream = (stream) => {
          ControlConnection.open(stream, waiting.signal).then((opened) => {
            // Not awaited: the guest sees this before the request of any process, which comes later.
            opened.sync(Date.now(), randomBytes(64)).catch(() => opened.close());
            resolve(opened);
          }, reject);
        };
      });
      const client = new AgentClient(connector, listener, control);
      onStream = (stream) => client.#reconnect(stream);
      return client;
    } catch (error) {
      waiting.abort();
      listener[Symbol.dispose]();
      throw error;
    } finally {
      clearTimeout(timer);
      if (onAbort) signal?.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Starts a process. Returns at once; `started` and `exited` of the result tell how it goes.
   *
   * @throws {@link AgentError} ERR_EXEC_INVALID for a request that cannot be sent.
   */
  exec(request: ExecRequest): GuestProcess {
    return this.#start(request, 0);
  }

  /** Runs a process to its end and collects its output. Throws as {@link GuestProcess.output} does. */
  async run(request: RunRequest): Promise<ProcessOutput> {
    return this.#run(request, 0);
  }

  /**
   * Reads a regular file of the guest. Needs no program in the guest.
   *
   * @param maxBytes most bytes that are read; 64 MiB unless given.
   * @throws {@link AgentError} ERR_EXEC_FILE with the guest's `errno`, ERR_EXEC_OUTPUT_LIMIT.
   */
  async readFile(
    path: string,
    options: FileOptions & { maxBytes?: number } = {},
  ): Promise<Uint8Array> {
    const { maxBytes, ...rest } = options;
    const request = { ...rest, argv: ["read", path] };
    const result = await this.#run(
      maxBytes === undefined ? request : { ...request, maxOutputBytes: maxBytes },
      EXEC_BUILTIN,
    );
    if (result.code !== 0) throw fileError(path, result);
    return result.stdout;
  }

  /**
   * Writes a file of the guest: a new file is filled and then takes the name, so readers see the old or the
   * new content. Needs no program in the guest.
   *
   * @param mode permission bits; 0o644 unless given.
   * @throws {@link AgentError} ERR_EXEC_FILE with the guest's `errno`.
   */
  async writeFile(
    path: string,
    data: string | Uint8Array,
    options: FileOptions & { mode?: number } = {},
  ): Promise<void> {
    const { mode = 0o644, ...rest } = options;
    const result = await this.#run(
      { ...rest, argv: ["write", path, mode.toString(8)], input: data },
      EXEC_BUILTIN,
    );
    if (result.code !== 0) throw fileError(path, result);
  }

  /** Round trip to the agent, in milliseconds. */
  async ping(timeoutMs = 5000): Promise<number> {
    return this.#control.ping(timeoutMs);
  }

  /** Sets the guest's clock to the host's and gives it fresh entropy. Needed after a pause or a restore. */
  async sync(): Promise<void> {
    await this.#control.sync(Date.now(), randomBytes(64));
  }

  /**
   * Ends the machine: SIGTERM to every process, SIGKILL after `graceMs` (at most 60000), file systems written
   * back, power off. Resolves when the connection is gone; whether the machine has ended, its owner knows.
   *
   * @throws {@link AgentError} ERR_AGENT_TIMEOUT when the guest is still there 5 seconds after that.
   */
  async shutdown(graceMs = 2000): Promise<void> {
    await this.#control.shutdown(graceMs);
    this.close();
  }

  /** Lets go of the agent; the machine stays as it is. */
  close(): void {
    this.#listener[Symbol.dispose]();
    this.#control.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #start(request: ExecRequest, flags: number): GuestProcess {
    const frame = encodeFrame(FrameType.EXEC, encodeExecRequest(request, flags));
    const hasStdin = Boolean(request.stdin || request.tty);
    const { signal } = request;
    const connection = this.#connector.connect(EXEC_PORT, signal ? { signal } : {});
    return new GuestProcess(connection, frame, hasStdin, signal);
  }

  async #run(request: RunRequest, flags: number): Promise<ProcessOutput> {
    const { input, maxOutputBytes, ...exec } = request;
    const process = this.#start(input === undefined ? exec : { ...exec, stdin: true }, flags);
    if (input !== undefined) {
      // A process may end without reading all of it; that is no failure of the request.
      process.stdin.on("error", () => {});
      process.stdin.end(input);
    }
    return process.output(maxOutputBytes);
  }

  /** The guest opens a new control connection when the old one broke, as after a restore. */
  #reconnect(stream: Duplex): void {
    ControlConnection.open(stream).then(
      (control) => {
        this.#control.close();
        this.#control = control;
      },
      () => stream.destroy(),
    );
  }
}

function fileError(path: string, result: ProcessOutput): AgentError {
  const why = result.stderr.toString().trim() || `interrupted by signal ${result.signal}`;
  return new AgentError("ERR_EXEC_FILE", `${path}: ${why}`);
}
