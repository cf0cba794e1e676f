import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { until } from "@supermachine-internal/testing";

/** The command as built: the thread and the process of a daemon are programs of their own. */
export const COMMAND = fileURLToPath(new URL("../dist/bin.js", import.meta.url));
export const DAEMON_PROCESS = fileURLToPath(new URL("../dist/daemon-process.js", import.meta.url));

/** `supermachine-fsd`, running. */
export class Command implements AsyncDisposable {
  readonly child: ChildProcess;
  /** Resolves with the exit status, or the signal that ended it. */
  readonly ended: Promise<number | string | null>;
  errors = "";
  output = "";

  constructor(args: readonly string[]) {
    this.child = spawn(process.execPath, [COMMAND, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.errors += text;
    });
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.output += text;
    });
    this.ended = new Promise((resolve) => {
      this.child.once("close", (status, signal) => resolve(signal ?? status));
    });
  }

  /** Waits until it serves. */
  async serving(): Promise<void> {
    const settled = () => this.errors.includes("sharing ") || this.child.exitCode !== null;
    await until(settled, "the daemon to serve", 10_000);
    if (this.child.exitCode !== null) throw new Error(this.errors);
  }

  /** The process that serves: the only child of any thread of the command. */
  get daemonPid(): number {
    const tasks = `/proc/${this.child.pid}/task`;
    const children = readdirSync(tasks).map((id) =>
      readFileSync(`${tasks}/${id}/children`, "latin1"),
    );
    return Number(children.join("").trim());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.ended;
  }
}
