import { spawnSync } from "node:child_process";
import { LINUX_SIGNALS, type LinuxSignal } from "@supermachine/guest";
import type { SpawnOptions } from "../exec.js";
import type { Vm } from "../vm.js";
import type { VmProcess } from "../vm-process.js";
import { parseEnvironment } from "./environment.js";
import {
  SIGNAL_BASE,
  STATUS_NOT_EXECUTABLE,
  STATUS_NOT_FOUND,
  STATUS_TIMED_OUT,
} from "./status.js";

/** Flags of a command in the guest, as parsed. */
export interface CommandFlags {
  readonly env: readonly string[];
  readonly workdir?: string;
  readonly user?: string;
  readonly timeout?: number;
  readonly interactive: boolean;
  readonly tty: boolean;
}

/** Signals that reach the guest's command. */
export const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;
/** A command that ignores this many signals is ended by force. */
const PATIENCE = 3;

function terminalSize(): { columns: number; rows: number } {
  // A terminal that does not know its size says 0.
  return { columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 };
}

/** The guest's terminal is as large as ours and understands what ours does. */
function spawnOptions(flags: CommandFlags): SpawnOptions {
  const { TERM } = process.env;
  const env = parseEnvironment(flags.env);
  return {
    stdin: flags.interactive,
    env: flags.tty && TERM !== undefined ? { TERM, ...env } : env,
    ...(flags.workdir === undefined ? {} : { cwd: flags.workdir }),
    ...(flags.user === undefined ? {} : { user: flags.user }),
    ...(flags.timeout === undefined ? {} : { timeoutMs: flags.timeout }),
    ...(flags.tty ? { tty: terminalSize() } : {}),
  };
}

/** Passes signals on to the guest's command until disposed. */
function forwardSignals(child: VmProcess, lastResort: () => void): Disposable {
  let received = 0;
  const forward = (signal: LinuxSignal) => {
    received++;
    if (received >= PATIENCE) lastResort();
    else child.kill(signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  return {
    [Symbol.dispose]() {
      for (const signal of FORWARDED) process.off(signal, forward);
    },
  };
}

/** Hands every key on as it is, and prints what comes as it is, until disposed. */
function rawTerminal(): Disposable {
  process.stdin.setRawMode(true);
  // Node.js's raw mode still puts a carriage return before each newline, which the guest's terminal has done already.
  spawnSync("stty", ["-opost"], { stdio: ["inherit", "ignore", "ignore"] });
  return { [Symbol.dispose]: () => void process.stdin.setRawMode(false) };
}

/** Connects this process's terminal or pipes to the guest's command until disposed. */
function connectStreams(child: VmProcess, flags: CommandFlags): Disposable {
  const { stdin, stdout, stderr } = process;
  const { streams } = child;
  const raw = flags.tty && flags.interactive && stdin.isTTY ? rawTerminal() : undefined;
  streams.stdout.pipe(stdout, { end: false });
  streams.stderr.pipe(stderr, { end: false });
  // A closed pipe on our side must not end the command's other streams.
  stdout.on("error", () => streams.stdout.unpipe(stdout).resume());
  streams.stdin.on("error", () => {});
  if (flags.interactive) stdin.pipe(streams.stdin);
  const resize = () => {
    const { columns, rows } = terminalSize();
    child.resize(columns, rows);
  };
  if (flags.tty) stdout.on("resize", resize);
  return {
    [Symbol.dispose]() {
      raw?.[Symbol.dispose]();
      stdin.unpipe(streams.stdin);
      stdin.destroy();
      stdout.off("resize", resize);
    },
  };
}

/** Waits until what was written to a stream has left this process. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.writableLength === 0 || stream.destroyed) resolve();
    else stream.write("", () => resolve());
  });
}

function signalNumber(name: string): number {
  return LINUX_SIGNALS[name as LinuxSignal] ?? Number(name.slice("SIG".length));
}

/** Prints why a command could not be started, and returns the status that says so. Throws any other error. */
export function reportStartError(error: unknown): number {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code !== "ERR_EXEC_NOT_FOUND" && code !== "ERR_EXEC_NOT_EXECUTABLE") throw error;
  process.stderr.write(`supermachine: ${error instanceof Error ? error.message : error}\n`);
  return code === "ERR_EXEC_NOT_FOUND" ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
}

/**
 * Runs a command in a guest with this process's terminal or pipes, and returns the exit status.
 *
 * @param started is called once signals go to the command.
 * @param lastResort ends a command that ignores the signals passed on to it.
 */
export async function runCommand(
  vm: Vm,
  argv: readonly string[],
  flags: CommandFlags,
  {
    started = () => {},
    lastResort,
  }: { started?: () => void; lastResort: (child: VmProcess) => void },
): Promise<number> {
  try {
    const child = vm.spawn(argv, spawnOptions(flags));
    using _signals = forwardSignals(child, () => lastResort(child));
    using _streams = connectStreams(child, flags);
    started();
    const { code, signal, timedOut } = await child.exited;
    await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
    if (timedOut) return STATUS_TIMED_OUT;
    return code ?? SIGNAL_BASE + signalNumber(signal ?? "SIGKILL");
  } catch (error) {
    return reportStartError(error);
  }
}
