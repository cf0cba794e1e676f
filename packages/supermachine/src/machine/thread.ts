import { rmSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { lazyFunction } from "@supermachine-internal/libc";
import { SupermachineError } from "../errors.js";
import type { HypervisorKind } from "./config.js";
import type { Listening, MachineSite } from "./remote-machine.js";

/** How long a machine's thread may take to end before nobody waits for it any more. */
const END_TIMEOUT_MS = 5_000;
/** How long it holds up the end of this process. */
const EXIT_TIMEOUT_MS = 2_000;

/** What a machine's thread is given. */
export interface MachineThreadData {
  readonly hypervisor: HypervisorKind;
  readonly cpus: number;
  /** One word: whether the thread has released everything. */
  readonly released: SharedArrayBuffer;
}

/** What a machine's thread tells: where it listens, or an error that nothing has caught. */
export type MachineThreadMessage = Listening | { readonly failure: string };

/** Tells a machine's thread to end the machine and itself. */
export const END = "end";

/**
 * The worker thread of one machine, with its vCPUs' threads below it. It is asked to end, never terminated:
 * that would leave its descriptors open, wait for vCPUs that are in the guest, and abort the process when the
 * thread's event loop is in native code.
 */
export class MachineThread implements MachineSite {
  /** Those of this thread that have not ended. */
  static readonly #living = new Set<MachineThread>();
  static #watchesExit = false;

  readonly listening: Promise<Listening>;
  readonly ended: Promise<string>;
  readonly #worker: Worker;
  readonly #released = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  #failure = "";
  #directory: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #settle: (how: string) => void = () => {};

  /** Starts the thread, which gets ready for a machine of that kind. */
  constructor(hypervisor: HypervisorKind, cpus: number) {
    const data: MachineThreadData = {
      hypervisor,
      cpus,
      released: this.#released.buffer as SharedArrayBuffer,
    };
    const worker = new Worker(new URL("./machine-thread.js", import.meta.url), {
      name: "machine",
      workerData: data,
      // What Node.js closes at the end of a thread may long be another's: native code closes some of it.
      trackUnmanagedFds: false,
      execArgv: [],
    });
    this.#worker = worker;
    this.ended = new Promise((resolve) => {
      this.#settle = resolve;
    });
    worker.on("error", (error) => this.#onFailure(error.message));
    worker.once("exit", () => this.#onExit());
    this.listening = new Promise((resolve, reject) => {
      worker.on("message", (message: MachineThreadMessage) => {
        if ("failure" in message) {
          this.#onFailure(message.failure);
          return;
        }
        this.#directory = message.directory;
        resolve(message);
      });
      void this.ended.then((how) => reject(new SupermachineError("ERR_VM_PROCESS", how)));
    });
    MachineThread.#living.add(this);
    if (!MachineThread.#watchesExit) process.once("exit", MachineThread.#endAll);
    MachineThread.#watchesExit = true;
  }

  end(): void {
    this.#worker.postMessage(END);
    this.#timer ??= setTimeout(() => this.kill(), END_TIMEOUT_MS);
  }

  /** Nothing ends a thread by force: nobody waits for it any more. */
  kill(): void {
    this.#worker.unref();
    this.#settle(
      `the machine's thread does not answer${this.#failure}; it and its guest end with this process`,
    );
  }

  #onFailure(reason: string): void {
    this.#failure ||= `: ${reason}`;
    this.end();
  }

  #onExit(): void {
    clearTimeout(this.#timer);
    MachineThread.#living.delete(this);
    if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true, force: true });
    this.#settle(`the machine's thread ended${this.#failure}`);
  }

  /**
   * Node.js waits for the threads when the process exits, without letting them run on: a vCPU's would stay in the
   * guest for ever.
   */
  static readonly #endAll = (status: number): void => {
    for (const thread of MachineThread.#living) thread.#worker.postMessage(END);
    const deadline = performance.now() + EXIT_TIMEOUT_MS;
    for (const thread of MachineThread.#living) {
      const left = Math.max(0, deadline - performance.now());
      if (Atomics.wait(thread.#released, 0, 0, left) === "timed-out") exitNow(status);
    }
  };
}

const exitNow = lazyFunction<(status: number) => never>("void _exit(int status)");
