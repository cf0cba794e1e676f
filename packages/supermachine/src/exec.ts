import { constants } from "node:os";
import type { ExitStatus, ProcessOutput } from "@supermachine/guest";

/** Options of every command. */
export interface CommandOptions {
  /** Added to the machine's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory in the guest. Default: the image's, else `/`. */
  readonly cwd?: string;
  /** `name`, `uid`, `name:group` or `uid:gid`. Default: the image's, else root. */
  readonly user?: string;
  /** Kills the command and its children after this many milliseconds. */
  readonly timeoutMs?: number;
  /** Kills the command and its children. */
  readonly signal?: AbortSignal;
}

/** Options of `vm.spawn`. */
export interface SpawnOptions extends CommandOptions {
  /** Gives the command a standard input; otherwise it reads end of file. Default false. */
  readonly stdin?: boolean;
  /** Runs the command on a terminal of this size: standard error then joins standard output. */
  readonly tty?: { readonly columns: number; readonly rows: number };
}

/** Options of `vm.exec`. */
export interface ExecOptions extends CommandOptions {
  /** Standard input. */
  readonly input?: string | Uint8Array;
  /** Most bytes collected of standard output and standard error together. Default 64 MiB. */
  readonly maxOutputBytes?: number;
}

/** How a command ended, and what it printed. */
export interface ExecResult {
  /** Exit code, or `null` when a signal ended it. */
  readonly code: number | null;
  /** Name of the signal that ended it, such as `SIGTERM`, or `null`. */
  readonly signal: string | null;
  /** Standard output, decoded as UTF-8. */
  readonly stdout: string;
  /** Standard error, decoded as UTF-8. */
  readonly stderr: string;
  /** Whether `timeoutMs` ended it. */
  readonly timedOut: boolean;
  /** From start to end by the guest's clock. */
  readonly durationMs: number;
  /** Most memory that it, or a child it waited for, had resident. */
  readonly peakRssKiB: number;
}

/** The name of a Linux signal, such as `SIGKILL`; real-time signals by number. */
export function signalName({ signal }: ExitStatus): string | null {
  if (signal === null) return null;
  const known = Object.entries(constants.signals).find(([, number]) => number === signal);
  return known?.[0] ?? `SIG${signal}`;
}

export function execResult(output: ProcessOutput): ExecResult {
  return {
    ...output,
    signal: signalName(output),
    stdout: output.stdout.toString("utf8"),
    stderr: output.stderr.toString("utf8"),
  };
}
