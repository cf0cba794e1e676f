import type { Duplex } from "node:stream";
import type { VsockConnector } from "./connector.js";
import { ControlConnection, type Hello } from "./control-connection.js";
import { AgentError } from "./errors.js";
import { CONTROL_PORT } from "./frames.js";
import { randomMachineId, type SyncOptions } from "./sync-request.js";

const FREEZE_TIMEOUT_MS = 5_000;
const FREEZE_TIMEOUT_MAX_MS = 60_000;

/** Options of {@link AgentControl.accept}. */
export interface AcceptOptions {
  /** Milliseconds to wait for the guest to be up; 30000 unless given. */
  timeoutMs?: number;
  /** Gives up waiting when aborted. */
  signal?: AbortSignal;
  /** Hears when the agent's connection is lost (`false`) and when it has made a new one (`true`). */
  onConnected?: (connected: boolean) => void;
  /** What the guest is given first, beside time and entropy. A random `machineId` unless given. */
  sync?: SyncOptions;
}

/** Options of {@link AgentControl.acceptAgain}. */
export type AcceptAgainOptions = Pick<AcceptOptions, "timeoutMs" | "signal" | "sync">;

/**
 * The agent's control connection, from the side that runs the machine. A machine has one; its processes are
 * reached through {@link AgentClient}, of which there may be many.
 */
export class AgentControl implements Disposable {
  readonly #listener: Disposable;
  readonly #onConnected: (connected: boolean) => void;
  #connection: ControlConnection;
  #closed = false;
  /** Hears of the next hello, before anyone else. */
  #onHello: ((connection: ControlConnection) => void) | undefined;

  private constructor(
    listener: Disposable,
    connection: ControlConnection,
    onConnected: (connected: boolean) => void,
  ) {
    this.#listener = listener;
    this.#onConnected = onConnected;
    this.#connection = connection;
    this.#watch(connection);
  }

  /** What the agent said last: when it was ready, and after a restore. */
  get hello(): Hello {
    return this.#connection.hello;
  }

  /**
   * Waits until the agent says hello, then gives the guest the right time, fresh entropy and a machine id.
   * Call it before the machine starts: an agent that finds nobody listening gives up after 10 seconds. In a
   * machine restored from a snapshot the agent says hello again; its processes stay frozen until
   * {@link AgentControl.thaw}.
   *
   * @throws {@link AgentError} ERR_AGENT_TIMEOUT, ERR_AGENT_BOOT (the message names the step that failed in
   * the guest), ERR_AGENT_VERSION, ERR_AGENT_PROTOCOL, ERR_EXEC_ABORTED.
   */
  static async accept(
    connector: VsockConnector,
    options: AcceptOptions = {},
  ): Promise<AgentControl> {
    const { timeoutMs = 30_000, signal, onConnected = () => {} } = options;
    const sync = { machineId: randomMachineId(), ...options.sync };
    let onStream: (stream: Duplex) => void = (stream) => stream.destroy();
    const listener = connector.listen(CONTROL_PORT, (stream) => onStream(stream));
    const waiting = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    let onAbort: (() => void) | undefined;
    try {
      const connection = await new Promise<ControlConnection>((resolve, reject) => {
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
            opened.sync(sync).catch(() => opened.close());
            resolve(opened);
          }, reject);
        };
      });
      const control = new AgentControl(listener, connection, onConnected);
      onStream = (stream) => control.#reconnect(stream);
      return control;
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
   * Waits until the agent says hello once more, in a machine that has gone back to its snapshot, and gives the guest
   * what {@link AgentControl.accept} does. Call it when all connections of the guest are gone, and before it runs.
   *
   * @throws {@link AgentError} ERR_AGENT_TIMEOUT, ERR_EXEC_ABORTED.
   */
  async acceptAgain(options: AcceptAgainOptions = {}): Promise<void> {
    const { timeoutMs = 30_000, signal } = options;
    const sync = { machineId: randomMachineId(), ...options.sync };
    const waiting = [AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])];
    const over = AbortSignal.any(waiting);
    try {
      await new Promise<void>((resolve, reject) => {
        over.addEventListener("abort", () => reject(notBack(timeoutMs, signal)), { once: true });
        if (over.aborted) reject(notBack(timeoutMs, signal));
        this.#onHello = (connection) => {
          this.#onHello = undefined;
          // Not awaited: see accept.
          connection.sync(sync).catch(() => connection.close());
          resolve();
        };
      });
    } finally {
      this.#onHello = undefined;
    }
  }

  /** Round trip to the agent, in milliseconds. */
  async ping(timeoutMs = 5000): Promise<number> {
    return this.#connection.ping(timeoutMs);
  }

  /**
   * Sets the guest's clock to the host's and gives it fresh entropy: needed after a pause or a restore. After a
   * restore also names and ids, so that copies of one machine can be told apart.
   *
   * @throws {@link AgentError} ERR_AGENT_OPTION, ERR_AGENT_TIMEOUT, ERR_AGENT_GONE.
   */
  async sync(options: SyncOptions = {}): Promise<void> {
    await this.#connection.sync(options);
  }

  /**
   * Stops every process of the guest but the agent, which still answers; a process that is started meanwhile
   * begins to run with {@link AgentControl.thaw}. They do not notice. A snapshot is to be taken of a frozen
   * guest: nothing in its copies runs before they have been given randomness of their own.
   *
   * @param options.timeoutMs 5000 unless given, at most 60000.
   * @throws {@link AgentError} ERR_AGENT_FREEZE when a process does not stop in time, for it waits for a device:
   * all of them run on then. ERR_AGENT_TIMEOUT, ERR_AGENT_GONE: it is not known whether they do.
   */
  async freeze(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    const timeoutMs = Math.round(options.timeoutMs ?? FREEZE_TIMEOUT_MS);
    await this.#connection.freeze(Math.min(FREEZE_TIMEOUT_MAX_MS, Math.max(0, timeoutMs)));
  }

  /** Lets the processes of a frozen guest run on. Of one that is not frozen it does nothing. */
  async thaw(): Promise<void> {
    await this.#connection.thaw();
  }

  /**
   * Ends the machine: SIGTERM to every process, SIGKILL after `graceMs` (at most 60000), file systems written
   * back, power off. Resolves when the connection is gone; whether the machine has ended, its owner knows.
   *
   * @throws {@link AgentError} ERR_AGENT_TIMEOUT when the guest is still there 5 seconds after that.
   */
  async shutdown(graceMs = 2000): Promise<void> {
    await this.#connection.shutdown(graceMs);
    this.close();
  }

  /** Lets go of the agent; the machine stays as it is. */
  close(): void {
    this.#closed = true;
    this.#listener[Symbol.dispose]();
    this.#connection.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The guest opens a new control connection when the old one broke, as after a restore. */
  #reconnect(stream: Duplex): void {
    ControlConnection.open(stream).then(
      (connection) => {
        this.#connection.close();
        this.#connection = connection;
        if (this.#closed) {
          connection.close();
          return;
        }
        this.#watch(connection);
        this.#onHello?.(connection);
        this.#onConnected(true);
      },
      () => stream.destroy(),
    );
  }

  #watch(connection: ControlConnection): void {
    void connection.closed.then(() => {
      if (connection === this.#connection && !this.#closed) this.#onConnected(false);
    });
  }
}

function notBack(timeoutMs: number, signal: AbortSignal | undefined): AgentError {
  return signal?.aborted
    ? new AgentError("ERR_EXEC_ABORTED", "waiting for the agent was aborted", {
        cause: signal.reason,
      })
    : new AgentError("ERR_AGENT_TIMEOUT", `the agent did not come back within ${timeoutMs} ms`);
}
