import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { ExitReason } from "../exit.js";
import type { VcpuKickToken } from "../vcpu.js";
import type { VmToken } from "../vm.js";

/** What the suite asks its other thread to do. */
export type Command =
  /** Make vCPU `index` in real mode at `rip`, run it until one exit, close it. */
  | {
      readonly type: "run";
      readonly vmToken: VmToken;
      readonly index: number;
      readonly rip: number;
    }
  /** Kick after that many milliseconds, unless cancelled. */
  | {
      readonly type: "kick";
      readonly id: number;
      readonly vmToken: VmToken;
      readonly kickToken: VcpuKickToken;
      readonly after: number;
    }
  | { readonly type: "cancel"; readonly id: number };

/** What the other thread answers. */
export type Report =
  | { readonly type: "ready" }
  | { readonly type: "entering"; readonly kickToken: VcpuKickToken }
  | { readonly type: "exit"; readonly reason: ExitReason; readonly description: string };

/** A thread that drives the built driver. */
export class DriverThread {
  readonly #worker: Worker;
  readonly #reports: Report[] = [];
  #failure: Error | undefined;

  private constructor(driverModule: URL) {
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: { driverModule: driverModule.href },
      // The test runner's own flags are not for this thread.
      execArgv: [],
    });
    this.#worker.on("message", (report: Report) => this.#reports.push(report));
    this.#worker.on("error", (error: Error) => {
      this.#failure = error;
    });
    this.#worker.unref();
  }

  static async start(driverModule: URL): Promise<DriverThread> {
    const thread = new DriverThread(driverModule);
    await thread.next("ready");
    return thread;
  }

  send(command: Command): void {
    this.#worker.postMessage(command);
  }

  /** The next report, which must be of this type. */
  async next<T extends Report["type"]>(type: T): Promise<Extract<Report, { type: T }>> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const report = this.#reports.shift();
      if (report?.type === type) return report as Extract<Report, { type: T }>;
      if (report !== undefined) throw new Error(`expected "${type}", got "${report.type}"`);
      await once(this.#worker, "message");
    }
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}
