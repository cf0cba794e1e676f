import { Worker } from "node:worker_threads";
import type { VcpuMessage, VcpuThreadData, VcpuThreadMessage } from "./vcpu-thread.js";

/** What a machine hears of its vCPU threads. */
export interface VcpuThreadsListener {
  onMessage(index: number, message: VcpuMessage): void;
  /** The thread has let go of its vCPU; with an error when it failed, also before the machine was there. */
  onExit(index: number, error: Error | undefined): void;
}

/** Threads that are kept for the next machine, at most, and for how long: each takes 10 MiB or so. */
const MAX_IDLE = 4;
const IDLE_LIMIT_MS = 30_000;

/** A worker thread that runs one vCPU after the other. */
class VcpuWorker {
  readonly module: string;
  readonly #worker: Worker;
  /** Settles when the thread is gone. */
  readonly #gone: Promise<void>;
  #failure: Error | undefined;
  #isGone = false;
  #expiry: NodeJS.Timeout | undefined;

  constructor(module: URL) {
    this.module = module.href;
    this.#worker = new Worker(module, {
      name: "vcpu",
      // The VM and vCPU handles own their fds; the thread closes nothing behind their back.
      trackUnmanagedFds: false,
      // They print nothing; piping many of them into this process's streams makes Node.js warn of a leak.
      stdout: true,
      stderr: true,
      execArgv: [],
    });
    this.#worker.on("error", (error) => {
      this.#failure = error;
    });
    this.#gone = new Promise((resolve) => {
      this.#worker.once("exit", () => {
        this.#isGone = true;
        resolve();
      });
    });
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** Runs a vCPU to its end. Answers why the thread failed, if it did. */
  async run(
    data: VcpuThreadData,
    onMessage: (message: VcpuMessage) => void,
  ): Promise<Error | undefined> {
    let onFree = () => {};
    const free = new Promise<void>((resolve) => {
      onFree = resolve;
    });
    const listener = (message: VcpuThreadMessage) => {
      if (message.type === "free") onFree();
      else onMessage(message);
    };
    this.#worker.on("message", listener);
    this.#worker.postMessage(data);
    await Promise.race([free, this.#gone]);
    this.#worker.off("message", listener);
    return this.#failure;
  }

  /** Keeps neither the process nor, after a while, itself alive. */
  rest(onExpired: () => void): void {
    this.#worker.unref();
    this.#expiry = setTimeout(onExpired, IDLE_LIMIT_MS).unref();
  }

  wake(): void {
    clearTimeout(this.#expiry);
    this.#worker.ref();
  }

  /** Asked, not terminated: in the middle of a native call a thread would leave its fds open. */
  dismiss(): void {
    clearTimeout(this.#expiry);
    this.#worker.postMessage(undefined);
  }
}

/** Those whose machine has ended, least recently used first. */
let idle: VcpuWorker[] = [];

function takeWorker(module: URL): VcpuWorker {
  idle = idle.filter((worker) => !worker.isGone);
  const found = idle.findLast((worker) => worker.module === module.href);
  if (found === undefined) return new VcpuWorker(module);
  idle = idle.filter((worker) => worker !== found);
  found.wake();
  return found;
}

function keepWorker(worker: VcpuWorker): void {
  if (worker.isGone) return;
  idle.push(worker);
  worker.rest(() => forget(worker));
  if (idle.length > MAX_IDLE && idle[0] !== undefined) forget(idle[0]);
}

function forget(worker: VcpuWorker): void {
  idle = idle.filter((each) => each !== worker);
  worker.dismiss();
}

/**
 * The worker threads of a machine's vCPUs. A thread takes longer to start than a machine to restore, so
 * whoever is in a hurry starts the threads first and gives them to {@link Machine.start}; and a few whose machine
 * has ended wait for the next one for half a minute.
 */
export class VcpuThreads implements Disposable {
  readonly #workers: readonly VcpuWorker[];
  #started = false;

  /** `cpus` threads of the module that calls {@link runVcpuThread}. */
  constructor(module: URL, cpus: number) {
    this.#workers = Array.from({ length: cpus }, () => takeWorker(module));
  }

  get count(): number {
    return this.#workers.length;
  }

  /** Gives each thread its vCPU. Resolves when all of them have let go of it. */
  async run(
    dataOf: (index: number) => VcpuThreadData,
    listener: VcpuThreadsListener,
  ): Promise<void> {
    this.#started = true;
    const ends = this.#workers.map(async (worker, index) => {
      const failure = await worker.run(dataOf(index), (message) =>
        listener.onMessage(index, message),
      );
      listener.onExit(index, failure);
    });
    await Promise.all(ends);
    // Only now: until then a kick that is meant for its last vCPU may still come.
    for (const worker of this.#workers) keepWorker(worker);
  }

  /** Lets go of threads that no machine has taken; those of a machine end with it. */
  [Symbol.dispose](): void {
    if (this.#started) return;
    this.#started = true;
    for (const worker of this.#workers) keepWorker(worker);
  }
}
