import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Runs file system operations below one directory; see the README for the commands. */
export interface Executor extends AsyncDisposable {
  /** Runs commands one after the other and resolves to one answer for each. */
  run(commands: readonly string[]): Promise<string[]>;
}

const SOURCES = join(import.meta.dirname, "..", "executor");
const CACHE = join(import.meta.dirname, "..", "node_modules", ".cache");

/** The compiled executor, kept until its sources change. Needs `program:cc`. */
export function executorProgram(flags: readonly string[] = []): string {
  const names = readdirSync(SOURCES).sort();
  const hash = createHash("sha256").update(flags.join(" "));
  for (const name of names) hash.update(readFileSync(join(SOURCES, name)));
  const program = join(CACHE, `executor-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(program)) return program;
  mkdirSync(CACHE, { recursive: true });
  // Tests of other packages may compile it at the same time.
  const own = `${program}-${process.pid}`;
  const files = names.filter((name) => name.endsWith(".c")).map((name) => join(SOURCES, name));
  execFileSync("cc", ["-O1", ...flags, "-o", own, ...files]);
  renameSync(own, program);
  return program;
}

/** An executor in a process of its own: it may wait for a mount that this process serves. */
class ProcessExecutor implements Executor {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #exited: Promise<unknown>;
  readonly #waiting: { commands: number; answers: string[]; done(error?: Error): void }[] = [];
  #errors = "";

  constructor(command: string, args: readonly string[]) {
    this.#child = spawn(command, args, { env: { ...process.env, LC_ALL: "C" } });
    this.#exited = once(this.#child, "exit").then(([status, signal]) => {
      const why = `the executor ended (${status ?? signal}): ${this.#errors}`;
      for (const { done } of this.#waiting.splice(0)) done(new Error(why));
    });
    this.#child.stdin.on("error", () => {});
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
    });
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#take(line));
  }

  #take(line: string): void {
    const first = this.#waiting[0];
    if (first === undefined) return;
    first.answers.push(line);
    if (first.answers.length < first.commands) return;
    this.#waiting.shift();
    first.done();
  }

  run(commands: readonly string[]): Promise<string[]> {
    if (this.#child.exitCode !== null) throw new Error(`the executor ended: ${this.#errors}`);
    return new Promise((resolve, reject) => {
      const answers: string[] = [];
      const done = (error?: Error) => (error === undefined ? resolve(answers) : reject(error));
      if (commands.length === 0) done();
      else this.#waiting.push({ commands: commands.length, answers, done });
      this.#child.stdin.write(commands.map((command) => `${command}\n`).join(""));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end();
    // One that hangs in a mount ends when the mount does.
    const patience = setTimeout(() => this.#child.kill("SIGKILL"), 2000);
    await this.#exited;
    clearTimeout(patience);
  }
}

/** Starts the executor in `directory`, which must be empty: it removes all that it finds there. */
export function startExecutor(directory: string): Executor {
  return new ProcessExecutor(executorProgram(), [directory]);
}

/** Starts an executor by a command line of one's own, in a guest for example. */
export function startExecutorBy(command: string, args: readonly string[]): Executor {
  return new ProcessExecutor(command, args);
}
