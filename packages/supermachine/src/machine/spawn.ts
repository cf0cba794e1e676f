import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { ConsoleLog, type MachineExit } from "@supermachine-internal/console";
import { fromPlainError, SupermachineError } from "../errors.js";
import { RuntimeDirectory } from "../runtime-directory.js";
import type { MachineConfig, MachineListener, RunningMachine } from "./config.js";
import type { FromMachineProcess, ToMachineProcess } from "./messages.js";
import { VsockSocket } from "./vsock-socket.js";

/** How long a machine's process may take to end by itself before it is killed. */
const STOP_TIMEOUT_MS = 5_000;
const STDERR_LIMIT = 16 * 1024;

/** Starts a machine in a process of its own. Resolves when its vCPUs run. */
export async function spawnMachine(
  config: MachineConfig,
  guestPorts: readonly number[],
  listener: MachineListener,
): Promise<RunningMachine> {
  const directory = new RuntimeDirectory();
  const vsockPath = join(directory.path, "vsock");
  const child = fork(new URL("./machine-process.js", import.meta.url), {
    serialization: "advanced",
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    // Of the parent's V8 options none concerns the machine; an inspector port would even clash.
    execArgv: [],
  });
  const machine = new SpawnedMachine(child, directory, vsockPath, listener);
  listener.onVsock(machine.vsock);
  await machine.start({ type: "start", config, vsockPath, guestPorts });
  return machine;
}

class SpawnedMachine implements RunningMachine {
  readonly vsock: VsockSocket;
  readonly exited: Promise<MachineExit>;
  readonly #child: ChildProcess;
  readonly #console = new ConsoleLog();
  readonly #started: Promise<void>;
  #exit: MachineExit | undefined;
  #failure: SupermachineError | undefined;
  #stderr = "";
  #killTimer: NodeJS.Timeout | undefined;

  constructor(
    child: ChildProcess,
    directory: RuntimeDirectory,
    vsockPath: string,
    listener: MachineListener,
  ) {
    this.#child = child;
    this.vsock = new VsockSocket(vsockPath);
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
      directory[Symbol.dispose]();
      return this.#exit ?? this.#unexpectedExit();
    });
    this.#started = new Promise((resolve, reject) => {
      child.on("message", (message: FromMachineProcess) => {
        if (message.type === "started") resolve();
        else if (message.type === "console") {
          this.#console.append(message.bytes);
          listener.onConsole?.(message.bytes);
        } else {
          if (message.type === "exited") this.#exit = message.exit;
          else this.#failure = fromPlainError(message.error);
          this.#killLater();
        }
      });
      void this.exited.then(({ message }) => {
        reject(this.#failure ?? new SupermachineError("ERR_VM_PROCESS", message));
      });
    });
    // Whoever starts the machine awaits it; without that, an early failure must not go unhandled.
    this.#started.catch(() => {});
  }

  start(message: ToMachineProcess): Promise<void> {
    this.#child.send(message, () => {});
    return this.#started;
  }

  consoleLines(): readonly string[] {
    return this.#exit?.console ?? this.#console.lines();
  }

  async stop(): Promise<MachineExit> {
    if (this.#child.connected)
      this.#child.send({ type: "stop" } satisfies ToMachineProcess, () => {});
    this.#killLater();
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** The process ends by itself when its machine has; nobody waits for ever for one that does not. */
  #killLater(): void {
    if (this.#killTimer !== undefined) return;
    this.#killTimer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    void this.exited.then(() => clearTimeout(this.#killTimer));
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
