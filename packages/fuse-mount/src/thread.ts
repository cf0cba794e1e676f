import { parentPort, workerData } from "node:worker_threads";
import { FUSE_OVER_IO_URING } from "@supermachine/fuse-protocol";
import { type FsBackend, practise, Session, type SessionInfo } from "@supermachine/fuse-server";
import { currentThreadId, takeShortTurns } from "@supermachine-internal/libc";
import { DeviceBackingFiles } from "./backing-files.js";
import { DeviceServer } from "./device-server.js";
import { StrayInterrupts } from "./stray-interrupts.js";
import {
  type BackendModule,
  DEVICE_FD,
  ENDED,
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
import { UringServer } from "./uring/uring-server.js";

/** A thread that makes a backend and serves one descriptor of the connection with it. */
class ServingThread {
  readonly #backend: FsBackend & Partial<Disposable & AsyncDisposable>;
  readonly #data: ThreadData;
  readonly #control: Int32Array;
  readonly #interrupts: StrayInterrupts;
  readonly #report: (report: ThreadReport) => void;
  #session: Session | undefined;
  #ended = false;
  #server: DeviceServer | UringServer | undefined;

  constructor(backend: FsBackend, data: ThreadData, report: (report: ThreadReport) => void) {
    this.#backend = backend;
    this.#data = data;
    this.#control = new Int32Array(data.control);
    this.#interrupts = new StrayInterrupts(data.interrupts);
    this.#report = report;
  }

  serve(fd: number, info: SessionInfo | undefined): void {
    const { options, ioModes, queues } = this.#data;
    const backing = new DeviceBackingFiles(fd);
    const session = new Session(this.#backend, {
      ...options,
      hostKernel: true,
      privateBuffers: true,
      ioUring: queues !== undefined,
      onStrayInterrupt: (unique) => {
        this.#interrupts.add(unique);
        this.#report({ kind: "interrupted" });
      },
      ...(ioModes && { passthrough: { backing, ioModes } }),
      logger: {
        warn: (message, cause) =>
          this.#report({
            kind: "warning",
            message,
            cause: cause instanceof Error ? (cause.stack ?? cause.message) : undefined,
          }),
      },
    });
    const maxWrite = options.maxWrite ?? 2 ** 20;
    this.#session = session;
    const shouldStop = () => Atomics.load(this.#control, STOP) !== 0;
    const onEnd = (error: Error | undefined) => void this.#end(error);
    const device = new DeviceServer(fd, session, maxWrite, onEnd);
    this.#server = device;
    takeShortTurns();
    Atomics.store(this.#control, DEVICE_FD, fd);
    Atomics.store(this.#control, RING_FD, -1);
    Atomics.store(this.#control, THREAD_ID, currentThreadId());
    Atomics.store(this.#control, STATE, SERVING);
    if (info !== undefined) session.adopt(info);
    else device.blockUntil(() => session.info !== undefined || shouldStop());
    if (info === undefined && session.info !== undefined) {
      this.#report({ kind: "initialized", info: session.info });
    }
    const throughRing = ((session.info?.flags ?? 0n) & FUSE_OVER_IO_URING) !== 0n;
    if (throughRing && queues !== undefined && queues.length > 0) {
      const also = info === undefined ? device : undefined;
      try {
        const server = new UringServer(fd, queues, session, maxWrite, also, onEnd);
        Atomics.store(this.#control, RING_FD, server.fd);
        this.#server = server;
      } catch (error) {
        onEnd(error as Error);
        return;
      }
    }
    this.#server.onWatch = (watches) => {
      Atomics.store(this.#control, WATCHING, watches ? 1 : 0);
      if (watches) this.#interrupts.deliver(session);
    };
    this.#server.block(shouldStop);
  }

  interrupted(): void {
    if (this.#session !== undefined) this.#interrupts.deliver(this.#session);
  }

  /** While the thread watches: a thread that waits in read(2) gets no messages. */
  stop(): void {
    void this.#end(undefined);
  }

  /** For the end of the thread: a watch that is still active then would end the process. */
  closeNow(): void {
    this.#server?.close();
  }

  async #end(error: Error | undefined): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.closeNow();
    Atomics.store(this.#control, STATE, ENDED);
    Atomics.notify(this.#control, STATE);
    this.#session?.close();
    try {
      this.#backend[Symbol.dispose]?.();
      await this.#backend[Symbol.asyncDispose]?.();
    } finally {
      this.#report({ kind: "ended", error });
      parentPort?.close();
    }
  }
}

function practiseWith(module: Partial<BackendModule>, data: ThreadData): void {
  try {
    using backend = module.createPracticeBackend?.();
    if (backend !== undefined) {
      practise(backend, { ...data.options, hostKernel: true, privateBuffers: true });
    }
  } catch {
    // It only costs speed. What is wrong with the backend itself shows, with its reason, in use.
  }
}

async function main(): Promise<void> {
  const port = parentPort;
  if (port === null) throw new TypeError("this module is the entry of a worker thread");
  const data = workerData as ThreadData;
  const report = (message: ThreadReport) => port.postMessage(message);
  const module = (await import(data.module)) as Partial<BackendModule>;
  if (typeof module.createBackend !== "function") {
    throw new TypeError(`${data.module} exports no function createBackend`);
  }
  const backend = (await module.createBackend(data.data)) as FsBackend;
  practiseWith(module, data);
  const thread = new ServingThread(backend, data, report);
  process.once("exit", () => thread.closeNow());
  port.on("message", (command: ThreadCommand) => {
    if (command.kind === "serve") thread.serve(command.fd, command.info);
    else if (command.kind === "interrupted") thread.interrupted();
    else thread.stop();
  });
  report({ kind: "ready" });
}

await main();
