import { constants } from "node:os";
import type { GuestProcess } from "@supermachine/guest";
import { SupermachineError } from "../errors.js";
import type { HypervisorName } from "../hypervisor/remembered.js";
import { type Mount, startVm, type Vm } from "../vm.js";
import type { PreparedRun } from "./prepare.js";
import {
  SIGNAL_BASE,
  STATUS_NOT_EXECUTABLE,
  STATUS_NOT_FOUND,
  STATUS_TIMED_OUT,
} from "./status.js";

/** The flags of `supermachine run`, as parsed. */
export interface RunFlags {
  readonly memory: number;
  readonly cpus: number;
  readonly mount: readonly string[];
  readonly env: readonly string[];
  readonly workdir?: string;
  readonly user?: string;
  readonly hypervisor: HypervisorName;
  readonly timeout?: number;
  readonly interactive: boolean;
  readonly tty: boolean;
  readonly console: boolean;
}

const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;
/** A command that ignores this many signals is ended together with its machine. */
const PATIENCE = 3;

const mountOptions = new Map<string, Partial<Mount>>([
  ["ro", { readOnly: true }],
  ["rw", { readOnly: false }],
  ["cache=none", { cache: "none" }],
  ["cache=auto", { cache: "auto" }],
  ["cache=metadata", { cache: "metadata" }],
  ["cache=always", { cache: "always" }],
  ["dax", { dax: true }],
  ["dax=auto", { dax: "auto" }],
]);

/** `HOST:GUEST` or `HOST:GUEST:ro,dax`; the guest path is absolute, so its colon is the last `:/`. */
export function parseMount(text: string): Mount {
  const match = /^(?<host>.+?):(?<guest>\/[^:]*)(?::(?<options>[^:]+))?$/.exec(text);
  const { host, guest, options } = match?.groups ?? {};
  const given = options?.split(",").map((option) => mountOptions.get(option)) ?? [];
  if (host === undefined || guest === undefined || given.includes(undefined)) {
    throw new SupermachineError(
      "ERR_OPTION",
      `--mount ${text}: write HOST:/GUEST or HOST:/GUEST:OPTIONS, options being ro, cache=none|auto|metadata|always, dax or dax=auto`,
    );
  }
  return Object.assign({ host, guest, readOnly: false }, ...given);
}

/** `NAME=value`, or `NAME` to pass on the caller's value. */
export function parseEnvironment(assignments: readonly string[]): Record<string, string> {
  const env: Record<string, string> = {};
  for (const assignment of assignments) {
    const at = assignment.indexOf("=");
    const name = at === -1 ? assignment : assignment.slice(0, at);
    if (name === "") {
      throw new SupermachineError("ERR_OPTION", `--env ${assignment}: write NAME=value or NAME`);
    }
    const value = at === -1 ? process.env[name] : assignment.slice(at + 1);
    if (value !== undefined) env[name] = value;
  }
  return env;
}

function terminalSize(): { columns: number; rows: number } {
  return { columns: process.stdout.columns ?? 80, rows: process.stdout.rows ?? 24 };
}

/** The guest's terminal is as large as ours and understands what ours does. */
function terminalOptions() {
  const { TERM } = process.env;
  return { tty: terminalSize(), ...(TERM === undefined ? {} : { env: { TERM } }) };
}

/** Passes signals on to the guest's command until disposed; the last resort is to end the machine. */
function forwardSignals(vm: Vm, child: GuestProcess): Disposable {
  let received = 0;
  const forward = (signal: NodeJS.Signals) => {
    received++;
    if (received >= PATIENCE) void vm.kill();
    else child.signal(constants.signals[signal]);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  return {
    [Symbol.dispose]() {
      for (const signal of FORWARDED) process.off(signal, forward);
    },
  };
}

/** Connects this process's terminal or pipes to the guest's command until disposed. */
function connectStreams(child: GuestProcess, flags: RunFlags): Disposable {
  const { stdin, stdout, stderr } = process;
  const raw = flags.tty && flags.interactive && stdin.isTTY;
  child.stdout.pipe(stdout, { end: false });
  child.stderr.pipe(stderr, { end: false });
  // A closed pipe on our side must not end the command's other streams.
  stdout.on("error", () => child.stdout.unpipe(stdout).resume());
  child.stdin.on("error", () => {});
  if (raw) stdin.setRawMode(true);
  if (flags.interactive) stdin.pipe(child.stdin);
  const resize = () => {
    const { columns, rows } = terminalSize();
    child.resize(columns, rows);
  };
  if (flags.tty) stdout.on("resize", resize);
  return {
    [Symbol.dispose]() {
      if (raw) stdin.setRawMode(false);
      stdin.unpipe(child.stdin);
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

function statusOfStartError(error: unknown): number | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ERR_EXEC_NOT_FOUND") return STATUS_NOT_FOUND;
  if (code === "ERR_EXEC_NOT_EXECUTABLE") return STATUS_NOT_EXECUTABLE;
  return undefined;
}

/** `supermachine run`: returns the exit status. */
export async function run(
  image: string,
  command: readonly string[],
  flags: RunFlags,
  { hypervisor, starter }: PreparedRun,
): Promise<number> {
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort(new SupermachineError("ERR_VM_STOPPED", "interrupted"));
  for (const signal of FORWARDED) process.on(signal, interrupt);
  const onConsole = (bytes: Uint8Array) => void process.stderr.write(bytes);
  const options = {
    image,
    memoryMiB: flags.memory,
    cpus: flags.cpus,
    mounts: flags.mount.map(parseMount),
    env: parseEnvironment(flags.env),
    signal: interrupted.signal,
    onNotice: (notice: string) => void process.stderr.write(`supermachine: ${notice}\n`),
    ...(flags.console ? { onConsole } : {}),
  };
  await using vm = await startVm(options, hypervisor, starter);
  try {
    const { entrypoint, cmd } = vm.image.config;
    const argv = [...entrypoint, ...(command.length > 0 ? command : cmd)];
    if (argv.length === 0) {
      throw new SupermachineError(
        "ERR_OPTION",
        `the image ${image} names no command; give one: supermachine run ${image} -- COMMAND`,
      );
    }
    const child = vm.spawn(argv, {
      stdin: flags.interactive,
      ...(flags.workdir === undefined ? {} : { cwd: flags.workdir }),
      ...(flags.user === undefined ? {} : { user: flags.user }),
      ...(flags.timeout === undefined ? {} : { timeoutMs: flags.timeout }),
      ...(flags.tty ? terminalOptions() : {}),
    });
    using _signals = forwardSignals(vm, child);
    using _streams = connectStreams(child, flags);
    for (const signal of FORWARDED) process.off(signal, interrupt);
    const { code, signal, timedOut } = await child.exited;
    await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
    if (timedOut) return STATUS_TIMED_OUT;
    if (code !== null) return code;
    return SIGNAL_BASE + (signal ?? 0);
  } catch (error) {
    const status = statusOfStartError(error);
    if (status === undefined) throw error;
    process.stderr.write(`supermachine: ${error instanceof Error ? error.message : error}\n`);
    return status;
  } finally {
    // Nothing in the guest outlives the command, so there is nothing to shut down in order.
    await vm.kill();
  }
}
