import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { SupermachineError } from "../errors.js";
import { runtimeEntries } from "../runtime-directory.js";
import type { HypervisorKind, MachineConfig } from "./config.js";
import { ControlClient } from "./control/client.js";
import type { VmParameters } from "./description.js";
import type { HostOptions } from "./host.js";
import type { MachineStarter, StartedMachine } from "./starter.js";

/** How long a machine's process may take to end by itself before it is killed. */
const STOP_TIMEOUT_MS = 5_000;
const STDERR_LIMIT = 16 * 1024;

/** The first message of a machine's process: where its control socket is. All else goes over that. */
export interface Listening {
  readonly directory: string;
}

/**
 * A machine in a process of its own. The channel to it is its lifeline: when that closes, the process stops
 * the machine and ends, unless the machine is detached and up.
 */
export class SpawnedMachine implements MachineStarter {
  readonly #child: ChildProcess;
  readonly #detached: boolean;
  readonly #listening: Promise<Listening>;
  /** With how it ended. */
  readonly #ended: Promise<string>;
  #killTimer: NodeJS.Timeout | undefined;
  #started = false;

  /** Starts the process, which gets ready for a machine of that kind. */
  constructor(hypervisor: HypervisorKind, cpus: number, detached: boolean) {
    const module = new URL("./machine-process.js", import.meta.url);
    const child = fork(module, [hypervisor, String(cpus)], {
      stdio: ["ignore", "ignore", detached ? "ignore" : "pipe", "ipc"],
      // Of the parent's V8 options none concerns the machine; an inspector port would even clash.
      execArgv: [],
      // A session of its own: a terminal that hangs up does not end it, and it keeps no directory in use.
      detached,
      ...(detached ? { cwd: "/" } : {}),
    });
    this.#child = child;
    this.#detached = detached;
    this.#ended = processEnd(child);
    void this.#ended.then(() => {
      clearTimeout(this.#killTimer);
      // What it left if it was killed.
      runtimeEntries();
    });
    this.#listening = Promise.race([
      once(child, "message").then(([message]) => message as Listening),
      this.#ended.then((how) => {
        throw new SupermachineError("ERR_VM_PROCESS", `the machine's process ended${how}`);
      }),
    ]);
    // Whoever starts the machine awaits it; without that, an early failure must not go unhandled.
    this.#listening.catch(() => {});
  }

  async start(
    config: MachineConfig,
    vm: VmParameters,
    { signal, onConsole }: HostOptions,
  ): Promise<StartedMachine> {
    const abort = () => this[Symbol.dispose]();
    signal?.addEventListener("abort", abort);
    let machine: ControlClient | undefined;
    try {
      signal?.throwIfAborted();
      const { directory } = await this.#listening;
      const options = this.#detached ? {} : { processEnded: this.#ended };
      machine = await ControlClient.connect(directory, options);
      if (onConsole !== undefined) void passConsole(machine, onConsole);
      const description = await machine.start({ config, vm });
      this.#started = true;
      if (this.#detached) this.#letGo();
      return { machine, description };
    } catch (error) {
      machine?.close();
      this[Symbol.dispose]();
      await this.#ended;
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Ends a process whose machine was not started; one that was is the affair of the machine. */
  [Symbol.dispose](): void {
    if (this.#started) return;
    if (this.#child.connected) this.#child.disconnect();
    this.#killTimer ??= setTimeout(() => this.#child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  }

  #letGo(): void {
    this.#child.disconnect();
    this.#child.unref();
  }
}

/** Settles when a process is gone, with the rest of a sentence that says how. */
async function processEnd(child: ChildProcess): Promise<string> {
  let said = "";
  const { stderr } = child;
  const read =
    stderr === null ? undefined : new Promise((resolve) => stderr.once("close", resolve));
  stderr?.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-STDERR_LIMIT);
  });
  // Not "close", which never comes when this side has closed the channel.
  const how = await new Promise<string>((resolve) => {
    child.once("error", ({ message }) => resolve(` at once: ${message}`));
    child.once("exit", (code, signal) => {
      resolve(signal === null ? ` with status ${code}` : ` by ${signal}`);
    });
  });
  await read;
  const detail = said.trim();
  return detail === "" ? how : `${how}: ${detail}`;
}

async function passConsole(
  machine: ControlClient,
  onConsole: (bytes: Uint8Array) => void,
): Promise<void> {
  try {
    for await (const { text } of machine.logs({ follow: true, source: "console" })) {
      onConsole(Buffer.from(text));
    }
  } catch {
    // The machine is gone; its end is told elsewhere.
  }
}
