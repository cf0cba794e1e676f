import { type ChildProcess, fork } from "node:child_process";
import type { Readable } from "node:stream";
import { SupermachineError } from "../errors.js";
import { runtimeEntries } from "../runtime-directory.js";
import type { HypervisorKind } from "./config.js";
import type { Listening, MachineSite } from "./remote-machine.js";

/** How long a machine's process may take to end by itself before it is killed. */
const END_TIMEOUT_MS = 5_000;
const STDERR_LIMIT = 16 * 1024;

/**
 * The process of one machine. The channel to it is its lifeline: when that closes, the process stops
 * the machine and ends, unless the machine is detached and up.
 */
export class MachineProcess implements MachineSite {
  readonly listening: Promise<Listening>;
  readonly ended: Promise<string>;
  readonly letGo?: () => void;
  readonly #child: ChildProcess;
  #killTimer: NodeJS.Timeout | undefined;

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
    if (detached) {
      this.letGo = () => {
        child.disconnect();
        child.unref();
      };
    }
    this.ended = processEnd(child);
    void this.ended.then(() => {
      clearTimeout(this.#killTimer);
      // What it left if it was killed.
      runtimeEntries();
    });
    this.listening = Promise.race([
      // Not once() of node:events, which an error of the process would end without saying what it was.
      new Promise<Listening>((resolve) => {
        child.once("message", (message) => resolve(message as Listening));
      }),
      this.ended.then((how) => {
        throw new SupermachineError("ERR_VM_PROCESS", how);
      }),
    ]);
  }

  end(): void {
    if (this.#child.connected) this.#child.disconnect();
    // A process that there never was has no end to wait for.
    if (this.#child.pid === undefined) return;
    this.#killTimer ??= setTimeout(() => this.kill(), END_TIMEOUT_MS);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

/** Settles when a process is gone, with how. */
async function processEnd(child: ChildProcess): Promise<string> {
  let said = "";
  // Undefined, against its type, where the host had no descriptors for the process.
  const stderr: Readable | null | undefined = child.stderr;
  const read = stderr ? new Promise((resolve) => stderr.once("close", resolve)) : undefined;
  stderr?.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-STDERR_LIMIT);
  });
  // Not "close", which never comes when this side has closed the channel.
  const how = await new Promise<string>((resolve) => {
    child.once("error", ({ message }) => resolve(`at once: ${message}`));
    child.once("exit", (code, signal) => {
      resolve(signal === null ? `with status ${code}` : `by ${signal}`);
    });
  });
  await read;
  const detail = said.trim();
  return `the machine's process ended ${how}${detail === "" ? "" : `: ${detail}`}`;
}
