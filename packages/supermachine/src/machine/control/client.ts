import type { Socket } from "node:net";
import { join } from "node:path";
import { fromPlainError, SupermachineError } from "../../errors.js";
import { endOwner } from "../../runtime-directory.js";
import type {
  EventOptions,
  LogEntry,
  LogOptions,
  MachineEvent,
  MachineHealth,
  MachineStatus,
  RunningMachine,
  SaveOptions,
  VmExit,
} from "../config.js";
import type { VmDescription } from "../description.js";
import type { MachineMetrics, MetricsOptions } from "../metrics.js";
import type { MachineSite } from "../remote-machine.js";
import { VsockSocket } from "../vsock-socket.js";
import { dial, foreignProcess } from "./dial.js";
import { type ControlMethods, type ControlStreams, isReply, type StartParams } from "./protocol.js";

/** How long a machine's process may take to answer what it can answer at once. */
const ANSWER_TIMEOUT_MS = 5_000;
/** How long writing a snapshot may take. */
const SAVE_TIMEOUT_MS = 300_000;
/** How long going back to a snapshot may take: it has limits of its own. */
const REVERT_TIMEOUT_MS = 120_000;
/** How much longer than its own limit the answer to a request may take. */
const MARGIN_MS = 5_000;
const STOP_TIMEOUT_MS = 2_000;

/** Options of {@link ControlClient.connect}. */
export interface ConnectOptions {
  /** For the owner of what runs the machine: the machine has not ended before that has. */
  readonly site?: Pick<MachineSite, "ended" | "kill">;
  /** For anybody else: the machine's process is not there for it alone, so it is not ended with the machine. */
  readonly isProcessShared?: boolean;
}

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** A machine that another process runs, by way of its runtime directory. */
export class ControlClient implements RunningMachine {
  readonly vsock: VsockSocket;
  readonly exited: Promise<VmExit>;
  readonly #directory: string;
  readonly #socket: Socket;
  readonly #site: ConnectOptions["site"];
  readonly #isProcessShared: boolean;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;

  /**
   * @throws {@link SupermachineError} ERR_VM_STOPPED when nobody listens there, ERR_VM_TIMEOUT, and
   *   ERR_VM_PROTOCOL for a process of another version.
   */
  static async connect(directory: string, options: ConnectOptions = {}): Promise<ControlClient> {
    const { socket, values } = await dial(directory);
    return new ControlClient(directory, socket, values, options);
  }

  private constructor(
    directory: string,
    socket: Socket,
    values: AsyncIterable<unknown>,
    { site, isProcessShared = false }: ConnectOptions,
  ) {
    this.#directory = directory;
    this.#socket = socket;
    this.vsock = new VsockSocket(join(directory, "vsock"));
    this.#site = site;
    this.#isProcessShared = isProcessShared;
    void this.#listen(values);
    this.exited = this.#exit();
  }

  /** Starts the machine of a process that has none yet. `timeoutMs` is the guest's own limit. */
  async start(params: StartParams): Promise<VmDescription> {
    return this.#request("start", params, params.config.bootTimeoutMs + MARGIN_MS);
  }

  async describe(): Promise<VmDescription> {
    return this.#request("describe", null);
  }

  async stop({ timeoutMs = STOP_TIMEOUT_MS } = {}): Promise<VmExit> {
    await this.#request("stop", { timeoutMs }, timeoutMs + 2 * MARGIN_MS).catch(() => this.kill());
    return this.exited;
  }

  async kill(): Promise<VmExit> {
    await this.#request("kill", null).catch((error: SupermachineError) => {
      // What does not answer is ended itself. Any other failure is that the machine is gone.
      if (error.code !== "ERR_VM_TIMEOUT") return;
      if (this.#site !== undefined) {
        this.#site.kill();
        // Even if it is still there: nobody waits for its answers any more.
        this.close();
      } else if (!this.#isProcessShared) endOwner(this.#directory);
      else throw error;
    });
    return this.exited;
  }

  async pause(): Promise<void> {
    await this.#request("pause", null);
  }

  async resume(): Promise<void> {
    await this.#request("resume", null);
  }

  async save(directory: string, options: SaveOptions = {}): Promise<void> {
    await this.#request("save", { directory, ...options }, SAVE_TIMEOUT_MS);
  }

  async revert(): Promise<void> {
    await this.#request("revert", null, REVERT_TIMEOUT_MS);
  }

  async metrics(options: MetricsOptions = {}): Promise<MachineMetrics> {
    return this.#request("metrics", options);
  }

  async setMemoryTarget(memoryMiB: number): Promise<void> {
    await this.#request("setMemoryTarget", { memoryMiB });
  }

  async status(): Promise<MachineStatus> {
    return this.#request("status", null);
  }

  async health({ timeoutMs = 1000 } = {}): Promise<MachineHealth> {
    return this.#request("health", { timeoutMs }, timeoutMs + MARGIN_MS);
  }

  logs({ signal, ...params }: LogOptions = {}): AsyncIterable<LogEntry> {
    return this.#follow("logs", params, signal);
  }

  events({ signal }: EventOptions = {}): AsyncIterable<MachineEvent> {
    return this.#follow("events", null, signal);
  }

  /** Lets go of the machine; it stays as it is. */
  close(): void {
    this.#socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #exit(): Promise<VmExit> {
    const exit = await this.#request("exited", null, Number.POSITIVE_INFINITY).catch(
      () => undefined,
    );
    const message = (await this.#site?.ended) ?? "the machine's process ended unexpectedly";
    this.close();
    return exit ?? { reason: "hypervisor-error", message, console: [] };
  }

  #request<M extends keyof ControlMethods>(
    method: M,
    params: ControlMethods[M]["params"],
    timeoutMs = ANSWER_TIMEOUT_MS,
  ): Promise<ControlMethods[M]["result"]> {
    const id = this.#nextId++;
    let timer: NodeJS.Timeout | undefined;
    return new Promise<ControlMethods[M]["result"]>((resolve, reject) => {
      if (this.#socket.destroyed) throw processGone();
      if (Number.isFinite(timeoutMs)) {
        timer = setTimeout(() => reject(unanswered(method, timeoutMs)), timeoutMs);
      }
      this.#pending.set(id, {
        resolve: (result) => resolve(result as ControlMethods[M]["result"]),
        reject,
      });
      this.#socket.write(`${JSON.stringify({ id, method, params })}\n`);
    }).finally(() => {
      clearTimeout(timer);
      this.#pending.delete(id);
    });
  }

  /** Ends with the connection, and with it all that waits for an answer. */
  async #listen(values: AsyncIterable<unknown>): Promise<void> {
    let reason = processGone();
    try {
      for await (const value of values) {
        if (!isReply(value)) throw foreignProcess(this.#directory);
        const pending = this.#pending.get(value.id);
        if ("error" in value) pending?.reject(fromPlainError(value.error));
        else if ("result" in value) pending?.resolve(value.result);
      }
    } catch (error) {
      if (error instanceof SupermachineError) reason = error;
    }
    this.#socket.destroy();
    for (const { reject } of this.#pending.values()) reject(reason);
  }

  /** Over a connection of its own: what is not read holds up nothing else. */
  async *#follow<S extends keyof ControlStreams>(
    method: S,
    params: ControlStreams[S]["params"],
    signal: AbortSignal | undefined,
  ): AsyncGenerator<ControlStreams[S]["item"], void, undefined> {
    if (signal?.aborted) return;
    const { socket, values } = await dial(this.#directory);
    const abort = () => socket.destroy();
    signal?.addEventListener("abort", abort);
    try {
      // It may have been given up while it was dialled.
      if (signal?.aborted) return;
      socket.write(`${JSON.stringify({ id: 0, method, params })}\n`);
      for await (const value of values) {
        if (!isReply(value)) throw foreignProcess(this.#directory);
        if ("error" in value) throw fromPlainError(value.error);
        if ("result" in value) return;
        yield value.item as ControlStreams[S]["item"];
      }
      if (!signal?.aborted) throw processGone();
    } finally {
      signal?.removeEventListener("abort", abort);
      socket.destroy();
    }
  }
}

function processGone(): SupermachineError {
  return new SupermachineError("ERR_VM_STOPPED", "the machine's process is gone");
}

function unanswered(method: string, timeoutMs: number): SupermachineError {
  return new SupermachineError(
    "ERR_VM_TIMEOUT",
    `the machine's process did not answer "${method}" within ${timeoutMs} ms; kill the machine if it never does`,
  );
}
