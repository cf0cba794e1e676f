import { LINUX_SIGNALS, type ProcessOutput } from "@supermachine/guest";

/** How a command ended. */
export interface ExitResult {
  /** Exit code, or `null` when a signal ended it. */
  readonly code: number | null;
  /** Name of the signal that ended it, such as `SIGTERM`, or `null`. */
  readonly signal: string | null;
  /** Whether `timeoutMs` ended it. */
  readonly timedOut: boolean;
  /** From start to end by the guest's clock. */
  readonly durationMs: number;
  /** Most memory that it, or a child it waited for, had resident. */
  readonly peakRssKiB: number;
}

/** How a command ended, and what it printed. */
export interface ExecResult extends ExitResult {
  /** Standard output, decoded as UTF-8. */
  readonly stdout: string;
  /** Standard error, decoded as UTF-8. */
  readonly stderr: string;
}

/** The name of a Linux signal, such as `SIGKILL`; real-time signals by number. */
export function signalName(number: number | null): string | null {
  if (number === null) return null;
  const known = Object.entries(LINUX_SIGNALS).find(([, value]) => value === number);
  return known?.[0] ?? `SIG${number}`;
}

export function execResult(output: ProcessOutput): ExecResult {
  return {
    ...output,
    signal: signalName(output.signal),
    stdout: output.stdout.toString("utf8"),
    stderr: output.stderr.toString("utf8"),
  };
}
