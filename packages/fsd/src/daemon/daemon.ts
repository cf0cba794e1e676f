import { Worker } from "node:worker_threads";
import { ResourceStack } from "@supermachine-internal/libc";
import { FsdError, type FsdErrorCode } from "../error.js";
import type { SeccompAction } from "../sandbox/seccomp.js";
import type { ServeDirectoryOptions } from "../serve-directory.js";
import type { FromLauncher, LogLevel, SandboxMode } from "./messages.js";
import { prepareLaunch, removeScratch } from "./prepare-launch.js";

/** Options of {@link startDaemon}. */
export interface DaemonOptions extends Omit<ServeDirectoryOptions, "logger"> {
  /** Default `namespace` for root, `none` for others. */
  readonly sandbox?: SandboxMode;
  /** Default `kill`. */
  readonly seccomp?: SeccompAction;
  /** Capabilities to keep beyond those needed, or to give up: `+sys_admin:-mknod`. */
  readonly modcaps?: string;
  /** How many files the daemon may have open; 0 leaves the limit. Default: a million, or as far as allowed. */
  readonly noFileLimit?: number;
  /**
   * How many threads wait for what takes long: reads that the page cache cannot serve, fsync, copies. Requests
   * themselves are served by one. 0 to 1024; 0 is 1. Default 4.
   */
  readonly threadPoolSize?: number;
  /** End when the first machine has disconnected, as virtiofsd does. Default false. */
  readonly exitOnDisconnect?: boolean;
  /** Hears what the daemon reports. Default: nobody. */
  readonly onLog?: (level: LogLevel, message: string) => void;
  /** Report each request and reply, with level `trace`. Default false. */
  readonly trace?: boolean;
}

/** How a daemon ended. */
export interface DaemonExit {
  /** Its exit status; 0 when all is well. */
  readonly status: number | null;
  readonly signal: string | null;
}

const STOP_MS = 5000;

/** A process that serves one directory. It ends with the one that started it, also when that is killed. */
export class Daemon implements AsyncDisposable {
  readonly socketPath: string;
  /** Settles when the process has ended and all is released. Never rejects. */
  readonly exited: Promise<DaemonExit>;
  readonly #resources: ResourceStack;
  readonly #worker: Worker;
  readonly #onLog: (level: LogLevel, message: string) => void;
  #pid = -1;
  #ended = false;
  #settle: { serving(): void; failed(error: FsdError): void } | undefined;
  #failure: FsdError | undefined;

  /** See {@link startDaemon}. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const resources = new ResourceStack();
    try {
      const data = await prepareLaunch(options, resources);
      const worker = new Worker(new URL("./daemon-launcher.js", import.meta.url), {
        workerData: data,
        // The launcher inherits nothing that the caller set for its own code.
        execArgv: [],
      });
      const daemon = new Daemon(worker, options, resources);
      await daemon.#serving();
      removeScratch(data.scratch);
      return daemon;
    } catch (error) {
      resources[Symbol.dispose]();
      throw error;
    }
  }

  private constructor(worker: Worker, options: DaemonOptions, resources: ResourceStack) {
    this.socketPath = options.socketPath ?? `fd ${options.socketFd}`;
    this.#worker = worker;
    this.#resources = resources;
    this.#onLog = options.onLog ?? (() => {});
    this.exited = new Promise((resolve) => {
      let exit: DaemonExit = { status: null, signal: null };
      worker.on("message", (message: FromLauncher) => {
        if (message.type === "ended") exit = { status: message.code, signal: message.signal };
        else this.#onMessage(message);
      });
      worker.once("error", (cause) => this.#fail("ERR_FSD_DAEMON", cause.message, cause));
      worker.once("exit", () => {
        this.#ended = true;
        const how = exit.signal ?? `status ${exit.status}`;
        this.#fail("ERR_FSD_DAEMON", `the daemon ended before it served: ${how}`);
        resources[Symbol.dispose]();
        resolve(exit);
      });
    });
  }

  /** The process id of the daemon. */
  get pid(): number {
    return this.#pid;
  }

  #serving(): Promise<void> {
    return new Promise((serving, failed) => {
      this.#settle = { serving, failed };
      if (this.#failure !== undefined) failed(this.#failure);
    });
  }

  #onMessage(message: Exclude<FromLauncher, { type: "ended" }>): void {
    switch (message.type) {
      case "started":
        this.#pid = message.pid;
        break;
      case "serving":
        this.#settle?.serving();
        break;
      case "log":
        this.#onLog(message.level, message.message);
        break;
      case "failed":
        this.#fail(errorCode(message.code), message.message);
        break;
    }
  }

  /** What happens first is the reason, and matters only until the daemon serves. */
  #fail(code: FsdErrorCode, message: string, cause?: unknown): void {
    this.#failure ??= new FsdError(code, message, { cause });
    this.#settle?.failed(this.#failure);
  }

  /** Ends the process; one that does not within five seconds is killed. Idempotent. */
  async close(): Promise<void> {
    if (!this.#ended) {
      this.#worker.postMessage("SIGTERM");
      const timer = setTimeout(() => this.#worker.postMessage("SIGKILL"), STOP_MS);
      await this.exited;
      clearTimeout(timer);
    }
    this.#resources[Symbol.dispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const codes: readonly string[] = ["ERR_FSD_OPTION", "ERR_FSD_SHARE", "ERR_FSD_SOCKET"];

function errorCode(code: string): FsdErrorCode {
  if (codes.includes(code)) return code as FsdErrorCode;
  return code === "ERR_FSD_SANDBOX" ? code : "ERR_FSD_DAEMON";
}

/**
 * Serves a host directory over vhost-user from a process of its own, isolated as far as the system gives it.
 * Resolves once the process serves.
 *
 * Throws {@link FsdError}, also `ERR_FSD_SANDBOX` for an isolation that is not to be had; nothing is left
 * behind then.
 *
 * @example
 * ```ts
 * await using daemon = await startDaemon({ sharedDir: "/srv/project", socketPath: "/run/fs.sock" });
 * await daemon.exited;
 * ```
 */
export function startDaemon(options: DaemonOptions): Promise<Daemon> {
  return Daemon.start(options);
}
