import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { CONTROL_PORT } from "@supermachine/guest";
import { ConsoleLog, type MachineExit } from "@supermachine-internal/console";
import { fromPlainError, SupermachineError } from "../errors.js";
import { RuntimeDirectory } from "../runtime-directory.js";
import type { HypervisorKind, MachineConfig, MachineListener, RunningMachine } from "./config.js";
import type { FromMachineProcess, ToMachineProcess } from "./messages.js";
import type { MachineStarter } from "./starter.js";
import { VsockSocket } from "./vsock-socket.js";

/** How long a machine's process may take to end by itself before it is killed. */
const STOP_TIMEOUT_MS = 5_000;
const STDERR_LIMIT = 16 * 1024;

/** A machine in a process of its own. */
export class SpawnedMachine implements MachineStarter, RunningMachine {
  readonly vsock: VsockSocket;
  readonly exited: Promise<MachineExit>;
  readonly #child: ChildProcess;
  readonly #vsockPath: string;
  readonly #console = new ConsoleLog();
  readonly #started: Promise<void>;
  #onConsole: MachineListener["onConsole"];
  #exit: MachineExit | undefined;
  #failure: SupermachineError | undefined;
  #stderr = "";
  #killTimer: NodeJS.Timeout | undefined;

  /** Starts the process, which gets ready for a machine of that kind. */
  constructor(hypervisor: HypervisorKind, cpus: number) {
    const directory = new RuntimeDirectory();
    this.#vsockPath = join(directory.path, "vsock");
    this.vsock = new VsockSocket(this.#vsockPath);
    const child = fork(new URL("./machine-process.js", import.meta.url), {
      serialization: "advanced",
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      // Of the parent's V8 options none concerns the machine; an inspector port would even clash.
      execArgv: [],
    });
    this.#child = child;
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_LIMIT);
    });
    const ended = new Promise<void>((resolve) => {
      child.once("error", (cause) => {
        this.#failure ??= new SupermachineError(
          "ERR_VM_PROCESS",
          `the machine's process cannot be started: ${cause.message}`,
          { cause },
        );
        resolve();
      });
      child.once("close", () => resolve());
    });
    this.exited = ended.then(() => {
      clearTimeout(this.#killTimer);
      directory[Symbol.dispose]();
      return this.#exit ?? this.#unexpectedExit();
    });
    this.#started = new Promise((resolve, reject) => {
      child.on("message", (message: FromMachineProcess) => this.#onMessage(message, resolve));
      void this.exited.then(({ message }) => {
        reject(this.#failure ?? new SupermachineError("ERR_VM_PROCESS", message));
      });
    });
    // Whoever starts the machine awaits it; without that, an early failure must not go unhandled.
    this.#started.catch(() => {});
    this.#send({ type: "prepare", hypervisor, cpus });
  }

  async start(config: MachineConfig, listener: MachineListener): Promise<RunningMachine> {
    this.#onConsole = (bytes) => listener.onConsole?.(bytes);
    listener.onVsock(this.vsock);
    const guestPorts = [CONTROL_PORT];
    this.#send({ type: "start", config, vsockPath: this.#vsockPath, guestPorts });
    await this.#started;
    return this;
  }

  consoleLines(): readonly string[] {
    return this.#exit?.console ?? this.#console.lines();
  }

  async stop(): Promise<MachineExit> {
    this.#send({ type: "stop" });
    this.#killLater();
    return this.exited;
  }

  [Symbol.dispose](): void {
    void this.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #send(message: ToMachineProcess): void {
    // A process that is gone reports so by its end.
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  #onMessage(message: FromMachineProcess, started: () => void): void {
    if (message.type === "started") started();
    else if (message.type === "console") {
      this.#console.append(message.bytes);
      this.#onConsole?.(message.bytes);
    } else {
      if (message.type === "exited") this.#exit = message.exit;
      else this.#failure = fromPlainError(message.error);
      this.#killLater();
    }
  }

  /** The process ends by itself when its machine has; nobody waits for ever for one that does not. */
  #killLater(): void {
    this.#killTimer ??= setTimeout(() => this.#child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  }

  #unexpectedExit(): MachineExit {
    const { signalCode, exitCode } = this.#child;
    const how = signalCode === null ? `with status ${exitCode}` : `by ${signalCode}`;
    const detail = this.#stderr.trim();
    return {
      reason: "hypervisor-error",
      message:
        this.#failure?.message ??
        `the machine's process ended unexpectedly ${how}${detail === "" ? "" : `: ${detail}`}`,
      console: this.#console.lines(),
    };
  }
}
