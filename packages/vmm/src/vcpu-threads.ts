import { Worker } from "node:worker_threads";
import type { VcpuMessage, VcpuThreadData } from "./vcpu-thread.js";

/** What a machine hears of its vCPU threads. */
export interface VcpuThreadsListener {
  onMessage(index: number, message: VcpuMessage): void;
  /** The thread is gone; with an error when it failed, also before the machine was there. */
  onExit(index: number, error: Error | undefined): void;
}

/**
 * The worker threads of a machine's vCPUs. A thread takes as long to start as a machine to build, so
 * whoever is in a hurry starts the threads first and gives them to {@link Machine.start}.
 */
export class VcpuThreads implements Disposable {
  readonly #workers: readonly Worker[];
  readonly #failures = new Map<Worker, Error>();
  readonly #exits: readonly Promise<void>[];
  #started = false;

  /** Starts `cpus` threads of the module that calls {@link runVcpuThread}. */
  constructor(module: URL, cpus: number) {
    this.#workers = Array.from({ length: cpus }, (_, index) => {
      return new Worker(module, {
        name: `vcpu${index}`,
        // The VM and vCPU handles own their fds; the thread closes nothing behind their back.
        trackUnmanagedFds: false,
        // They print nothing; piping many of them into this process's streams makes Node.js warn of a leak.
        stdout: true,
        stderr: true,
        execArgv: [],
      });
    });
    this.#exits = this.#workers.map((worker) => {
      worker.on("error", (error) => this.#failures.set(worker, error));
      return new Promise((resolve) => worker.once("exit", () => resolve()));
    });
  }

  get count(): number {
    return this.#workers.length;
  }

  /** Gives each thread its vCPU. Resolves when all threads are gone. */
  async run(
    dataOf: (index: number) => VcpuThreadData,
    listener: VcpuThreadsListener,
  ): Promise<void> {
    this.#started = true;
    const ends = this.#workers.map(async (worker, index) => {
      worker.on("message", (message: VcpuMessage) => listener.onMessage(index, message));
      worker.postMessage(dataOf(index));
      await this.#exits[index];
      listener.onExit(index, this.#failures.get(worker));
    });
    await Promise.all(ends);
  }

  /**
   * Dismisses threads that no machine has taken; those of a machine end with it. They are asked, not
   * terminated: in the middle of a native call a thread would leave its fds open.
   */
  [Symbol.dispose](): void {
    if (this.#started) return;
    this.#started = true;
    for (const worker of this.#workers) worker.postMessage(undefined);
  }
}
