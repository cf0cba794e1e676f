import { type ChildProcess, fork } from "node:child_process";
import { parentPort, workerData } from "node:worker_threads";
import { boundCapabilities, capabilityNumber } from "../sandbox/capabilities.js";
import { raiseFileLimit } from "../sandbox/file-limit.js";
import { enterNamespaces, replaceRoot, SHARE } from "../sandbox/new-root.js";
import { setNoNewPrivileges } from "../sandbox/system-calls.js";
import type { DaemonPlan, FromDaemon, FromLauncher, LauncherData, ToDaemon } from "./messages.js";

/** Runs in a thread of its own; see `daemon-launcher.ts`. */
export function launch(): void {
  const data = workerData as LauncherData;
  try {
    new Launch(data);
  } catch (error) {
    report(failure(error));
  }
}

class Launch {
  readonly #data: LauncherData;
  readonly #child: ChildProcess;

  constructor(data: LauncherData) {
    this.#data = data;
    const { plan, socketFd } = data;
    if (plan.sandbox === "namespace") enterNamespaces();
    if (process.geteuid?.() === 0) boundCapabilities(capabilitiesToStart(plan));
    setNoNewPrivileges();
    this.#child = fork(data.program, {
      // Its working directory must not be a way out of the new root.
      cwd: "/",
      // Of what this process was started with, nothing concerns the daemon.
      env: { UV_THREADPOOL_SIZE: String(plan.threadPoolSize) },
      execArgv: ["--disallow-code-generation-from-strings"],
      stdio: ["ignore", "inherit", "inherit", "ipc", socketFd],
    });
    const child = this.#child;
    child.on("message", (message: FromDaemon) => this.#onMessage(message));
    child.once("error", (error) => report(failure(error)));
    child.once("close", (code, signal) => {
      report({ type: "ended", code, signal });
      parentPort?.close();
    });
    parentPort?.on("message", (signal: "SIGTERM" | "SIGKILL") => child.kill(signal));
    if (child.pid === undefined) return;
    report({ type: "started", pid: child.pid });
    this.#send({ type: "prepare", plan });
  }

  #raiseLimit(pid: number): void {
    const wanted = this.#data.plan.noFileLimit;
    const limit = raiseFileLimit(pid, wanted);
    if (wanted !== undefined && limit < wanted) {
      const message = `the limit of open files is ${limit}, not ${wanted}: only root may raise it further`;
      report({ type: "log", level: "warn", message });
    }
  }

  #onMessage(message: FromDaemon): void {
    if (message.type !== "prepared") {
      report(message);
      return;
    }
    // Not before: Node.js raises the soft limit when it starts.
    this.#raiseLimit(this.#child.pid ?? 0);
    this.#enclose();
  }

  /** The process has loaded all its code: take the rest of the world away from it. */
  #enclose(): void {
    const { plan, scratch } = this.#data;
    const { sharedDir, readOnly } = plan.serve;
    try {
      if (plan.sandbox === "namespace") {
        replaceRoot(scratch, sharedDir, this.#child.pid ?? 0, readOnly === true);
      }
    } catch (error) {
      report(failure(error));
      this.#child.kill("SIGKILL");
      return;
    }
    this.#send({ type: "serve", sharedDir: plan.sandbox === "namespace" ? SHARE : sharedDir });
  }

  #send(message: ToDaemon): void {
    // A child that has ended meanwhile says so itself.
    this.#child.send(message, () => {});
  }
}

/** What the process gives up itself, once it is in its chroot. */
function capabilitiesToStart({ capabilities, sandbox }: DaemonPlan): ReadonlySet<number> {
  const chroot = sandbox === "chroot" ? [capabilityNumber("sys_chroot")] : [];
  return new Set([...capabilities, ...chroot]);
}

function report(message: FromLauncher): void {
  parentPort?.postMessage(message);
}

function failure(error: unknown): FromLauncher {
  const reason = error instanceof Error ? error.message : String(error);
  return { type: "failed", code: "ERR_FSD_SANDBOX", message: reason };
}
