import type { Patience } from "./answer-watch.js";
import { collectOutput } from "./collect-output.js";
import type { VsockConnector } from "./connector.js";
import { AgentError } from "./errors.js";
import { ExecConnection, type ExecHandlers } from "./exec-connection.js";
import {
  type ChainRequest,
  EXEC_BUILTIN,
  type ExecRequest,
  encodeExecRequest,
} from "./exec-request.js";
import { type BuiltinStarter, GuestFiles } from "./files/guest-files.js";
import { EXEC_PORT } from "./frames.js";
import { GuestProcess, type ProcessOutput } from "./guest-process.js";
import { Semaphore } from "./semaphore.js";
import { encodeStagedFiles } from "./staged-files.js";

/** A vsock device has 256 connections; processes that somebody watches need some, too. */
const RUNS_MAX = 128;

/** What is collected of a request. */
export interface OutputOptions {
  /** Most bytes of stdout and stderr together; 64 MiB unless given. */
  maxOutputBytes?: number;
}

/** A request together with what goes into and may come out of it. */
export interface RunRequest extends ExecRequest, OutputOptions {
  /** Given to the process as its stdin. */
  input?: string | Uint8Array;
}

/**
 * Runs processes in one guest, over a connection each. Any process of the host that reaches the guest's vsock
 * can have one; the agent itself is watched and told by {@link AgentControl}.
 */
export class AgentClient implements BuiltinStarter {
  /** The guest's files. */
  readonly files: GuestFiles = new GuestFiles(this);
  readonly #connector: Pick<VsockConnector, "connect">;
  readonly #patience: Patience;
  readonly #runs = new Semaphore(RUNS_MAX);

  constructor(connector: Pick<VsockConnector, "connect">, patience: Patience = {}) {
    this.#connector = connector;
    this.#patience = patience;
  }

  /**
   * Starts a process. Returns at once; `started` and `exited` of the result tell how it goes.
   *
   * @throws {@link AgentError} ERR_EXEC_INVALID for a request that cannot be sent.
   */
  exec(request: ExecRequest): GuestProcess {
    return this.#start(request, 0);
  }

  /** Starts a function of the agent instead of a program: `argv` is as in agent/builtin.h. */
  startBuiltin(request: ExecRequest): GuestProcess {
    return this.#start(request, EXEC_BUILTIN);
  }

  /**
   * Runs a process to its end and collects its output. Beyond 128 at a time they wait for each other. Throws as
   * {@link GuestProcess.output} does.
   */
  async run(request: RunRequest): Promise<ProcessOutput> {
    const [output] = await this.#collect(
      request.input === undefined ? request : { ...request, stdin: true },
      request.input,
      request.maxOutputBytes,
    );
    if (output === undefined) throw new AgentError("ERR_AGENT_PROTOCOL", "no command has ended");
    return output;
  }

  /**
   * Runs commands one after the other, as long as they succeed, in one round trip. Returns a result for each
   * command that ran: the last one's may be a failure, and commands behind it were not started.
   *
   * @throws {@link AgentError} as {@link GuestProcess.exited} rejects, also when a command cannot be started.
   */
  async runChain(request: ChainRequest & OutputOptions): Promise<ProcessOutput[]> {
    return this.#collect(request, undefined, request.maxOutputBytes);
  }

  #start(request: ExecRequest, flags: number): GuestProcess {
    return new GuestProcess(this.#opener(request, flags), Boolean(request.stdin || request.tty));
  }

  async #collect(
    request: ExecRequest | ChainRequest,
    input: string | Uint8Array | undefined,
    maxBytes: number | undefined,
  ): Promise<ProcessOutput[]> {
    const open = this.#opener(request, 0);
    using _permit = await this.#runs.acquire(request.signal).catch((cause: unknown) => {
      throw new AgentError("ERR_EXEC_ABORTED", "the process was aborted", { cause });
    });
    return await collectOutput(open, input, maxBytes);
  }

  #opener(
    request: ExecRequest | ChainRequest,
    flags: number,
  ): (handlers: ExecHandlers) => ExecConnection {
    const { signal, timeoutMs = 0, stageFiles = [] } = request;
    const staged = encodeStagedFiles(stageFiles);
    const stagedBytes = staged.reduce((sum, { length }) => sum + length, 0);
    const payload = encodeExecRequest(request, stagedBytes, flags);
    const commandCount = "commands" in request ? request.commands.length : 1;
    return (handlers) =>
      new ExecConnection(
        (connecting) => this.#connector.connect(EXEC_PORT, { signal: connecting }),
        { payload, staged, commandCount, timeoutMs, signal },
        this.#patience,
        handlers,
      );
  }
}
