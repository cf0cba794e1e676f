import type { VsockConnector } from "./connector.js";
import { AgentError } from "./errors.js";
import { EXEC_BUILTIN, type ExecRequest, encodeExecRequest } from "./exec-request.js";
import { GuestFiles } from "./files/guest-files.js";
import { EXEC_PORT, encodeFrame, FrameType } from "./frames.js";
import { GuestProcess, type ProcessOutput } from "./guest-process.js";

/** A request together with what goes into and may come out of it. */
export interface RunRequest extends ExecRequest {
  /** Given to the process as its stdin. */
  input?: string | Uint8Array;
  /** Most bytes of stdout and stderr together; 64 MiB unless given. */
  maxOutputBytes?: number;
}

/**
 * Runs processes in one guest, over a connection each. Any process of the host that reaches the guest's vsock
 * can have one; the agent itself is watched and told by {@link AgentControl}.
 */
export class AgentClient {
  /** The guest's files. */
  readonly files: GuestFiles;
  readonly #connector: Pick<VsockConnector, "connect">;

  constructor(connector: Pick<VsockConnector, "connect">) {
    this.files = new GuestFiles((request) => this.#start(request, EXEC_BUILTIN));
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
