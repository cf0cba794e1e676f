import type { VsockConnector } from "./connector.js";
import { AgentError } from "./errors.js";
import { EXEC_BUILTIN, type ExecRequest, encodeExecRequest } from "./exec-request.js";
import { EXEC_PORT, encodeFrame, FrameType } from "./frames.js";
import { GuestProcess, type ProcessOutput } from "./guest-process.js";

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

/**
 * Runs processes in one guest, over a connection each. Any process of the host that reaches the guest's vsock
 * can have one; the agent itself is watched and told by {@link AgentControl}.
 */
export class AgentClient {
  readonly #connector: VsockConnector;

  constructor(connector: VsockConnector) {
    this.#connector = connector;
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
}

function fileError(path: string, result: ProcessOutput): AgentError {
  const why = result.stderr.toString().trim() || `interrupted by signal ${result.signal}`;
  return new AgentError("ERR_EXEC_FILE", `${path}: ${why}`);
}
