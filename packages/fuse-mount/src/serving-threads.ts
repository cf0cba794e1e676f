import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { createIoModes, type SessionInfo } from "@supermachine/fuse-server";
import { EventFd } from "@supermachine-internal/libc";
import { FuseMountError } from "./error.js";
import { installKickSignal, kick } from "./kick.js";
import type { RequestServer } from "./mount.js";
import { isPassthroughPossible, type ThreadedMountOptions } from "./mount-options.js";
import { replaceDescriptor } from "./native.js";
import { StrayInterrupts } from "./stray-interrupts.js";
import {
  CONTROL_WORDS,
  DEVICE_FD,
  RING_FD,
  SERVING,
  STATE,
  STOP,
  THREAD_ID,
  type ThreadCommand,
  type ThreadData,
  type ThreadReport,
  WATCHING,
} from "./thread-protocol.js";
import { distributeQueues } from "./uring/queues.js";

/** How long a thread may take to let go of its descriptor before it is terminated. */
const STOP_TIMEOUT_MS = 1000;
/** A kick can come between a thread's look at STOP and its read: then the next one wakes it. */
const KICK_INTERVAL_MS = 5;
/** How long the kernel and the first thread may take for INIT. */
const INIT_TIMEOUT_MS = 10_000;

class ServingThread {
  readonly worker: Worker;
  readonly #control: Int32Array;

  constructor(data: Omit<ThreadData, "control">) {
    const control = new SharedArrayBuffer(CONTROL_WORDS * Int32Array.BYTES_PER_ELEMENT);
    this.#control = new Int32Array(control);
    this.worker = new Worker(new URL("./thread.js", import.meta.url), {
      workerData: { ...data, control } satisfies ThreadData,
      name: "fuse-mount",
      // A file may be opened by one thread and released by another: Node.js would close the number again
      // when the first thread ends, whatever it stands for by then.
      trackUnmanagedFds: false,
    });
  }

  send(command: ThreadCommand): void {
    this.worker.postMessage(command);
  }

  /** The next report of a kind. Rejects when the thread fails first. */
  report<K extends ThreadReport["kind"]>(kind: K): Promise<ThreadReport & { kind: K }> {
    return new Promise((resolve, reject) => {
      this.worker.on("message", (report: ThreadReport) => {
        if (report.kind === kind) resolve(report as ThreadReport & { kind: K });
        else if (report.kind === "ended") reject(report.error ?? new Error("unmounted"));
      });
      this.worker.once("error", reject);
      this.worker.once("exit", () => reject(new Error("the thread has ended")));
    });
  }

  get #serving(): boolean {
    return Atomics.load(this.#control, STATE) === SERVING;
  }

  /** Then it gets messages. */
  get watches(): boolean {
    return Atomics.load(this.#control, WATCHING) !== 0;
  }

  askToStop(): void {
    Atomics.store(this.#control, STOP, 1);
    this.send({ kind: "stop" });
  }

  /** Wakes it from read(2), so that it sees that it is asked to stop. */
  wake(): void {
    if (this.#serving) kick(Atomics.load(this.#control, THREAD_ID));
  }

  /** Resolves within a bounded time; a thread that is stuck is terminated. */
  async stopped(): Promise<void> {
    const exited = once(this.worker, "exit");
    for (let waited = 0; this.#serving && waited < STOP_TIMEOUT_MS; waited += KICK_INTERVAL_MS) {
      this.wake();
      await delay(KICK_INTERVAL_MS);
    }
    if (!this.#serving && (await settlesWithin(exited, STOP_TIMEOUT_MS))) return;
    this.#silence();
    await delay(KICK_INTERVAL_MS);
    // This ends JavaScript anywhere. Only a thread inside a system call stays.
    await settlesWithin(this.worker.terminate(), STOP_TIMEOUT_MS);
  }

  /** The same for the end of the process, where nothing else runs any more. */
  stoppedNow(): void {
    const deadline = Date.now() + STOP_TIMEOUT_MS;
    while (this.#serving && Date.now() < deadline) {
      this.wake();
      Atomics.wait(this.#control, STATE, SERVING, KICK_INTERVAL_MS);
    }
    this.#silence();
  }

  /**
   * Puts a descriptor that is never readable in the place of those that the thread may watch: the
   * native part of a watch that fires while its thread is terminated ends the process.
   */
  #silence(): void {
    if (!this.#serving) return;
    using silent = new EventFd();
    for (const word of [DEVICE_FD, RING_FD]) {
      const fd = Atomics.load(this.#control, word);
      if (fd > 0) replaceDescriptor(silent.fd, fd);
    }
  }
}

function warnProcess(message: string, detail: string | undefined): void {
  process.emitWarning(message, { type: "FuseServerWarning", ...(detail && { detail }) });
}

async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController();
  const late = delay(ms, false, { signal: timer.signal, ref: false }).catch(() => false);
  const settled = promise.then(
    () => true,
    () => true,
  );
  try {
    return await Promise.race([settled, late]);
  } finally {
    timer.abort();
  }
}

/** Threads that serve one connection, each its own descriptor with its own backend and session. */
export class ServingThreads implements RequestServer {
  readonly #threads: ServingThread[];
  #closing = false;

  private constructor(threads: ServingThread[]) {
    this.#threads = threads;
  }

  /** Starts the threads and waits until each has made its backend. */
  static async start(
    module: string,
    data: unknown,
    count: number,
    options: ThreadedMountOptions,
  ): Promise<ServingThreads> {
    installKickSignal();
    const { logger, passthrough: _, ...sessionOptions } = options;
    const ioModes = isPassthroughPossible(options) ? createIoModes() : undefined;
    const queues = options.ioUring === true ? distributeQueues(count) : undefined;
    const interrupts = StrayInterrupts.memory();
    const threadData = { module, data, options: sessionOptions, ioModes, interrupts };
    const threads = Array.from(
      { length: count },
      (_, i) => new ServingThread({ ...threadData, queues: queues?.[i] }),
    );
    const serving = new ServingThreads(threads);
    try {
      serving.#forwardInterrupts();
      serving.#forwardWarnings(logger?.warn.bind(logger) ?? warnProcess);
      await Promise.all(threads.map((thread) => thread.report("ready")));
      return serving;
    } catch (cause) {
      for (const thread of threads) void thread.worker.terminate();
      const message = `cannot make a backend with ${module}: see the cause`;
      throw new FuseMountError("ERR_FUSE_MOUNT_MODULE", message, { cause });
    }
  }

  #forwardWarnings(warn: (message: string, cause: string | undefined) => void): void {
    for (const { worker } of this.#threads) {
      worker.on("message", (report: ThreadReport) => {
        if (report.kind === "warning") warn(report.message, report.cause);
      });
    }
  }

  #forwardInterrupts(): void {
    for (const { worker } of this.#threads) {
      worker.on("message", (report: ThreadReport) => {
        if (report.kind !== "interrupted") return;
        for (const thread of this.#threads)
          if (thread.watches) thread.send({ kind: "interrupted" });
      });
    }
  }

  /**
   * Has the first thread answer INIT and then all serve.
   *
   * @param fd - The connection's descriptor.
   * @param clone - Makes another of the same connection.
   * @param onEnd - Called once: the connection is gone, or a thread has failed.
   */
  async serve(
    fd: number,
    clone: () => number,
    onEnd: (error: Error | undefined) => void,
  ): Promise<SessionInfo> {
    const [first, ...others] = this.#threads;
    if (first === undefined) throw new RangeError("at least one thread is needed");
    for (const { worker } of this.#threads) this.#watchEnd(worker, onEnd);
    const initialized = first.report("initialized");
    first.send({ kind: "serve", fd, info: undefined });
    if (!(await settlesWithin(initialized, INIT_TIMEOUT_MS))) {
      throw new FuseMountError(
        "ERR_FUSE_MOUNT_FAILED",
        "the kernel did not begin to use the mount",
      );
    }
    const { info } = await initialized;
    for (const thread of others) thread.send({ kind: "serve", fd: clone(), info });
    return info;
  }

  #watchEnd(worker: Worker, onEnd: (error: Error | undefined) => void): void {
    const end = (error: Error | undefined) => {
      if (!this.#closing) onEnd(error);
    };
    worker.on("message", (report: ThreadReport) => {
      if (report.kind === "ended") end(report.error);
    });
    worker.on("error", end);
    worker.on("exit", () => end(new Error("a thread that served the mount has ended")));
  }

  async close(): Promise<void> {
    this.#closing = true;
    for (const thread of this.#threads) thread.askToStop();
    await Promise.all(this.#threads.map((thread) => thread.stopped()));
  }

  closeNow(): void {
    for (const thread of this.#threads) thread.askToStop();
    for (const thread of this.#threads) thread.stoppedNow();
  }
}
