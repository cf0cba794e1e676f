import { parentPort, workerData } from "node:worker_threads";
import { type FsBackend, Session, type SessionInfo } from "@supermachine/fuse-server";
import { DeviceBackingFiles } from "./backing-files.js";
import { DeviceServer } from "./device-server.js";
import { currentThreadId } from "./kick.js";
import {
  type BackendModule,
  ENDED,
  SERVING,
  STATE,
  STOP,
  THREAD_ID,
  type ThreadCommand,
  type ThreadData,
  type ThreadReport,
} from "./thread-protocol.js";

/** A thread that makes a backend and serves one descriptor of the connection with it. */
class ServingThread {
  readonly #backend: FsBackend & Partial<Disposable & AsyncDisposable>;
  readonly #data: ThreadData;
  readonly #control: Int32Array;
  readonly #report: (report: ThreadReport) => void;
  #session: Session | undefined;
  #server: DeviceServer | undefined;

  constructor(backend: FsBackend, data: ThreadData, report: (report: ThreadReport) => void) {
    this.#backend = backend;
    this.#data = data;
    this.#control = new Int32Array(data.control);
    this.#report = report;
  }

  serve(fd: number, info: SessionInfo | undefined): void {
    const { options, ioModes } = this.#data;
    const backing = new DeviceBackingFiles(fd);
    const session = new Session(this.#backend, {
      ...options,
      hostKernel: true,
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
    this.#server = new DeviceServer(fd, session, maxWrite, (error) => void this.#end(error));
    Atomics.store(this.#control, THREAD_ID, currentThreadId());
    Atomics.store(this.#control, STATE, SERVING);
    if (info !== undefined) session.adopt(info);
    let initialized = info !== undefined;
    this.#server.block(() => {
      if (!initialized && session.info !== undefined) {
        initialized = true;
        this.#report({ kind: "initialized", info: session.info });
      }
      return Atomics.load(this.#control, STOP) !== 0;
    });
  }

  /** While the thread watches: a thread that waits in read(2) gets no messages. */
  stop(): void {
    this.#server?.close();
    void this.#end(undefined);
  }

  async #end(error: Error | undefined): Promise<void> {
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
  const thread = new ServingThread(backend, data, report);
  port.on("message", (command: ThreadCommand) => {
    if (command.kind === "serve") thread.serve(command.fd, command.info);
    else thread.stop();
  });
  report({ kind: "ready" });
}

await main();
