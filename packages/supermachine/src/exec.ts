import type { Readable } from "node:stream";
import type { GuestProcess } from "@supermachine/guest";
import { SupermachineError } from "./errors.js";

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
  /** Most bytes collected of standard output and standard error each. Default 64 MiB. */
  readonly maxOutputBytes?: number;
}

/** How a command ended, and what it printed. */
export interface ExecResult {
  /** Exit code, or `null` when a signal ended it. */
  readonly code: number | null;
  /** Name of the signal that ended it, or `null`. */
  readonly signal: string | null;
  /** Standard output, decoded as UTF-8. */
  readonly stdout: string;
  /** Standard error, decoded as UTF-8. */
  readonly stderr: string;
  /** Whether `timeoutMs` ended it. */
  readonly timedOut: boolean;
  /** From start to end as the guest saw it. */
  readonly durationMs: number;
  /** Most memory that it or a child of it had resident. */
  readonly peakRssKiB: number;
}

const DEFAULT_MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

async function readAll(stream: Readable, name: string, limit: number): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > limit) {
      throw new SupermachineError(
        "ERR_EXEC_OUTPUT_LIMIT",
        `the command printed more than ${limit} bytes to its ${name}; raise maxOutputBytes or use spawn()`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length).toString("utf8");
}

/** Feeds a command its input and collects its output and end. */
export async function collect(child: GuestProcess, options: ExecOptions): Promise<ExecResult> {
  const limit = options.maxOutputBytes ?? DEFAULT_MAX_OUTPUT_BYTES;
  // A command may end without reading its input: that is no failure.
  child.stdin.on("error", () => {});
  if (options.input !== undefined) child.stdin.end(options.input);
  try {
    const [stdout, stderr, end] = await Promise.all([
      readAll(child.stdout, "standard output", limit),
      readAll(child.stderr, "standard error", limit),
      child.exited,
    ]);
    return { ...end, stdout, stderr };
  } catch (error) {
    child.kill();
    throw error;
  }
}
