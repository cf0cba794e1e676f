import { AgentControl, type VsockConnector } from "@supermachine/guest";
import type { MachineExit } from "@supermachine/vmm";
import { SupermachineError } from "../errors.js";
import type { ExitResult } from "../exec-result.js";
import { ClockWatch } from "./clock-watch.js";
import type {
  BareMachine,
  EventOptions,
  LogEntry,
  LogOptions,
  MachineConfig,
  MachineEvent,
  MachineHealth,
  MachineListener,
  MachineStatus,
  MainCommandConfig,
  RunningMachine,
  SaveOptions,
  VmExit,
} from "./config.js";
import { startMainCommand } from "./main-command.js";
import type { MachineMetrics, MetricsOptions } from "./metrics.js";
import type { MachineRecord } from "./record.js";

const STOP_TIMEOUT_MS = 2000;
/** How long after the guest's own limit the host ends it. */
const STOP_MARGIN_MS = 1000;
const HEALTH_TIMEOUT_MS = 1000;
/** A guest that stops to answer is noticed within the two together. */
const WATCH_INTERVAL_MS = 10_000;
const WATCH_TIMEOUT_MS = 5_000;

/** Builds a machine and lets it run. */
export type BareMachineStarter = (
  config: MachineConfig,
  listener: MachineListener,
) => Promise<BareMachine>;

/** Options of {@link MachineHost.start}. */
export interface HostOptions {
  /** Gives up the start. */
  readonly signal?: AbortSignal;
  /** Receives the guest's console as it comes. */
  readonly onConsole?: (bytes: Uint8Array) => void;
}

/** A machine together with the control of its guest's agent, in the process that runs both. */
export class MachineHost implements RunningMachine {
  readonly vsock: VsockConnector;
  readonly exited: Promise<VmExit>;
  readonly #machine: BareMachine;
  readonly #agent: AgentControl;
  readonly #record: MachineRecord;
  readonly #config: MachineConfig;
  readonly #clock = new ClockWatch();
  /** What a snapshot must be restored with: the configuration, as JSON. */
  readonly #metadata: string;
  #status: MachineStatus = "running";
  #answering = true;
  #stopping = false;
  /** Saved, or going back: it stands still for as long as that takes, which tells nothing of its health. */
  #away = false;
  #turn: Promise<void> = Promise.resolve();
  #command: ExitResult | undefined;
  #commandFailure: string | undefined;

  /**
   * Starts a machine and waits until its guest answers.
   *
   * @throws {@link SupermachineError} ERR_VM_BOOT_FAILED, ERR_VM_BOOT_TIMEOUT, the errors of the layers
   *   below, and the reason of `options.signal`; nothing is left behind then.
   */
  static async start(
    config: MachineConfig,
    startBare: BareMachineStarter,
    record: MachineRecord,
    { signal, onConsole }: HostOptions = {},
  ): Promise<MachineHost> {
    const { bootTimeoutMs: timeoutMs } = config;
    const over = new AbortController();
    const timeout = AbortSignal.timeout(timeoutMs);
    const waiting = AbortSignal.any([over.signal, timeout, ...(signal ? [signal] : [])]);
    let machine: BareMachine | undefined;
    let host: MachineHost | undefined;
    let boot: { vsock: VsockConnector; agent: Promise<AgentControl> } | undefined;
    try {
      machine = await startBare(config, {
        onVsock(vsock) {
          const { restore, hostname } = config;
          const agent = AgentControl.accept(vsock, {
            timeoutMs,
            ...(restore === undefined ? {} : { sync: { copy: true, hostname } }),
            signal: waiting,
            onConnected: (connected) => {
              if (host !== undefined) host.#setAnswering(connected);
            },
          });
          agent.catch(() => {});
          boot = { vsock, agent };
        },
        onConsole(bytes) {
          record.log("console", bytes);
          onConsole?.(bytes);
        },
        onDeviceFailure: ({ message }) => record.event({ type: "device-failure", message }),
      });
      const ended = machine.exited.then((exit) => Promise.reject(bootFailure(exit)));
      ended.catch(() => {});
      if (boot === undefined) throw new Error("the machine has no vsock");
      const agent = await Promise.race([boot.agent, ended]);
      // It was saved with all its processes stopped.
      if (config.restore !== undefined) await agent.thaw();
      host = new MachineHost(config, machine, boot.vsock, agent, record);
      if (config.command !== undefined) await host.#runMain(config.command);
      return host;
    } catch (error) {
      over.abort();
      await machine?.stop();
      record.close();
      signal?.throwIfAborted();
      if (!timeout.aborted) throw error;
      throw new SupermachineError(
        "ERR_VM_BOOT_TIMEOUT",
        `the guest was not ready within ${timeoutMs} ms${consoleTail(machine?.consoleLines() ?? [])}`,
        { cause: error },
      );
    }
  }

  private constructor(
    config: MachineConfig,
    machine: BareMachine,
    vsock: VsockConnector,
    agent: AgentControl,
    record: MachineRecord,
  ) {
    this.vsock = vsock;
    const { restore: _, ...original } = config;
    this.#metadata = JSON.stringify(original);
    this.#config = config;
    this.#machine = machine;
    this.#agent = agent;
    this.#record = record;
    const watch = setInterval(() => void this.#watch(), WATCH_INTERVAL_MS).unref();
    this.exited = machine.exited.then((bare) => {
      clearInterval(watch);
      const exit = this.#withCommand(bare);
      this.#status = "stopped";
      agent.close();
      record.event({ type: "exited", exit });
      record.close();
      return exit;
    });
    record.event({ type: "started" });
  }

  async stop({ timeoutMs = STOP_TIMEOUT_MS } = {}): Promise<VmExit> {
    const timer = setTimeout(() => void this.#machine.stop(), timeoutMs + STOP_MARGIN_MS);
    try {
      // A paused guest cannot shut down.
      await this.resume().catch(() => {});
      this.#stopping = true;
      await this.#agent.shutdown(timeoutMs).catch(() => this.#machine.stop());
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }

  async kill(): Promise<VmExit> {
    this.#stopping = true;
    await this.#machine.stop();
    return this.exited;
  }

  close(): void {}

  pause(): Promise<void> {
    return this.#inTurn("pause", async () => {
      if (this.#status === "paused") return;
      await this.#machine.pause();
      this.#status = "paused";
      this.#record.event({ type: "paused" });
    });
  }

  resume(): Promise<void> {
    return this.#inTurn("resume", async () => {
      if (this.#status !== "paused") return;
      await this.#machine.resume();
      this.#status = "running";
      this.#record.event({ type: "resumed" });
      // The guest's clock stood still. An agent that does not answer shows in its health.
      this.#agent.sync().catch(() => {});
    });
  }

  save(directory: string, options: SaveOptions = {}): Promise<void> {
    return this.#inTurn("save", async () => {
      const wasPaused = this.#status === "paused";
      this.#away = true;
      try {
        if (wasPaused) await this.#machine.resume();
        await this.#saveFrozen(directory, options);
        if (wasPaused) await this.#machine.pause();
      } catch (cause) {
        // Whichever step noticed it first.
        if (this.#stopping) throw this.#ended("save", cause);
        if (wasPaused) await this.#machine.pause();
        throw cause;
      } finally {
        this.#away = false;
      }
      this.#record.event({ type: "saved" });
    });
  }

  revert(): Promise<void> {
    return this.#inTurn("go back", async () => {
      if (this.#config.command !== undefined) {
        throw new SupermachineError(
          "ERR_SNAPSHOT_UNSUPPORTED",
          "a machine with a command of its own cannot go back to its snapshot: it ends with the command",
        );
      }
      this.#away = true;
      try {
        await this.#machine.revert();
        await this.#goOn();
      } finally {
        this.#away = false;
      }
      this.#record.event({ type: "reverted" });
    });
  }

  async metrics(options: MetricsOptions = {}): Promise<MachineMetrics> {
    return this.#machine.metrics(options);
  }

  async setMemoryTarget(memoryMiB: number): Promise<void> {
    this.#assertAlive("change the memory");
    await this.#machine.setMemoryTarget(memoryMiB);
  }

  async status(): Promise<MachineStatus> {
    return this.#status;
  }

  async health({ timeoutMs = HEALTH_TIMEOUT_MS } = {}): Promise<MachineHealth> {
    if (this.#status !== "running") return { status: this.#status, answering: false };
    const latencyMs = await this.#agent.ping(timeoutMs).catch(() => undefined);
    this.#setAnswering(latencyMs !== undefined);
    const status = this.#status;
    if (latencyMs === undefined) return { status, answering: false };
    return { status, answering: true, latencyMs };
  }

  logs(options?: LogOptions): AsyncIterable<LogEntry> {
    return this.#record.logs(options);
  }

  events(options?: EventOptions): AsyncIterable<MachineEvent> {
    return this.#record.events(options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Resolves when the command runs. The machine ends when it does. */
  async #runMain(command: MainCommandConfig): Promise<void> {
    const isPaused = async () => this.#status === "paused";
    const { ended } = await startMainCommand(this.vsock, command, this.#record, isPaused);
    void ended
      .then((result) => {
        this.#command = result;
      })
      .catch(({ message }: Error) => {
        this.#commandFailure = message;
      })
      // Nothing in the guest outlives its command, so there is nothing to shut down in order.
      .then(() => this.#machine.stop());
  }

  #withCommand(exit: MachineExit): VmExit {
    const command = this.#command;
    const failure = this.#commandFailure;
    if (failure !== undefined && exit.reason === "stopped" && !this.#stopping) {
      return { ...exit, message: `the machine's command was lost: ${failure}` };
    }
    if (command === undefined) return exit;
    const { code, signal } = command;
    const how = code === null ? `was ended by ${signal}` : `ended with status ${code}`;
    return { ...exit, message: `the machine's command ${how}`, command };
  }

  /** The guest's processes must not run on in a copy before it has been told that it is one. */
  async #saveFrozen(directory: string, options: SaveOptions): Promise<void> {
    await this.#agent.freeze();
    try {
      await this.#machine.save(directory, { ...options, metadata: this.#metadata });
    } finally {
      await this.#agent.thaw();
    }
  }

  /** Lets the guest of a machine that has gone back run on, as a restored one. A guest that does not is ended. */
  async #goOn(): Promise<void> {
    const { hostname, bootTimeoutMs: timeoutMs } = this.#config;
    const over = new AbortController();
    try {
      this.#record.clear();
      const sync = { copy: true, hostname };
      const back = this.#agent.acceptAgain({ timeoutMs, sync, signal: over.signal });
      back.catch(() => {});
      void this.#machine.exited.then(() => over.abort(new Error("the machine has ended")));
      await this.#machine.resume();
      await back;
      await this.#agent.thaw();
      this.#status = "running";
    } catch (error) {
      await this.#machine.stop();
      throw error;
    }
  }

  /** Whoever asks for it: what changes whether the guest runs happens one after the other. */
  #inTurn(action: string, work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(() => {
      this.#assertAlive(action);
      return work();
    });
    this.#turn = done.catch(() => {});
    return done;
  }

  #assertAlive(action: string): void {
    if (this.#status === "stopped") throw this.#ended(action);
  }

  #ended(action: string, cause?: unknown): SupermachineError {
    const message = `cannot ${action}: the machine has ended`;
    return new SupermachineError("ERR_VM_STOPPED", message, { cause });
  }

  async #watch(): Promise<void> {
    if (this.#away) return;
    if (this.#clock.hasJumped()) this.#agent.sync().catch(() => {});
    await this.health({ timeoutMs: WATCH_TIMEOUT_MS });
  }

  #setAnswering(answering: boolean): void {
    // A guest that shuts down closes its connection, which tells nothing about its health.
    if (answering === this.#answering || this.#stopping || this.#status === "stopped") return;
    if (this.#away) return;
    this.#answering = answering;
    this.#record.event({ type: answering ? "answering" : "not-answering" });
  }
}

function consoleTail(lines: readonly string[]): string {
  if (lines.length === 0) return "; its console is empty";
  return `; the last lines of its console:\n${lines.slice(-20).join("\n")}`;
}

function bootFailure({ message, console: lines }: MachineExit): SupermachineError {
  return new SupermachineError(
    "ERR_VM_BOOT_FAILED",
    `the machine ended before its guest was ready: ${message}${consoleTail(lines)}`,
  );
}
