import { posix } from "node:path";
import type {
  AgentClient,
  ExecOptions as GuestOptions,
  ResourceLimits,
  StagedFile,
} from "@supermachine/guest";
import { type ExecResult, execResult } from "./exec-result.js";
import { LatencyHistogram } from "./metrics/latency-histogram.js";
import { commandAttributes, traced } from "./tracing.js";
import { VmProcess } from "./vm-process.js";

/** Options of every command. */
export interface CommandOptions {
  /** Added to the machine's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory in the guest. Default: the image's, else `/`. */
  readonly cwd?: string;
  /** `name`, `uid`, `name:group` or `uid:gid`. Default: the image's, else root. */
  readonly user?: string;
  /** Resource limits of each of its processes, such as `{ nofile: 1024, as: 1 << 30 }`. */
  readonly rlimits?: ResourceLimits;
  /**
   * Files written before it starts, in the same round trip, with the rights of their user. Relative paths start
   * at `cwd`; missing directories are made.
   */
  readonly stageFiles?: readonly StagedFile[];
  /** Kills the command and all that it started after this many milliseconds. */
  readonly timeoutMs?: number;
  /** Kills the command and all that it started. */
  readonly signal?: AbortSignal;
}

/** Options of `vm.spawn`. */
export interface SpawnOptions extends CommandOptions {
  /** Gives the command a standard input; otherwise it reads end of file. Default false. */
  readonly stdin?: boolean;
  /** Runs the command on a terminal of this size: standard error then joins standard output. */
  readonly tty?: { readonly columns: number; readonly rows: number };
}

/** Options of `vm.chain`. */
export interface ChainOptions extends CommandOptions {
  /** Most bytes collected of standard output and standard error together. Default 64 MiB. */
  readonly maxOutputBytes?: number;
}

/** Options of `vm.exec`. */
export interface ExecOptions extends ChainOptions {
  /** Standard input. */
  readonly input?: string | Uint8Array;
}

/** What a machine gives to every command. */
export interface CommandDefaults {
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | undefined;
  readonly user: string | undefined;
}

/** Runs commands in a guest, with what the machine gives to each. */
export class Commands {
  readonly #agent: AgentClient;
  readonly #defaults: CommandDefaults;
  /** From the start of commands to their end. */
  readonly latency = new LatencyHistogram();

  constructor(agent: AgentClient, defaults: CommandDefaults) {
    this.#agent = agent;
    this.#defaults = defaults;
  }

  spawn(argv: readonly string[], options: SpawnOptions): VmProcess {
    const { stdin = false, tty } = options;
    const request = { ...this.#options(options), argv, stdin };
    const process = new VmProcess(
      this.#agent.exec(tty === undefined ? request : { ...request, tty }),
    );
    // Whoever uses the process hears of its failure.
    this.#observe(argv, process.exited).catch(() => {});
    return process;
  }

  async exec(argv: readonly string[], options: ExecOptions): Promise<ExecResult> {
    const { input } = options;
    const request = { ...this.#options(options), ...outputLimit(options), argv };
    const ended = this.#agent.run(input === undefined ? request : { ...request, input });
    return execResult(await this.#observe(argv, ended));
  }

  async chain(
    commands: readonly (readonly string[])[],
    options: ChainOptions,
  ): Promise<ExecResult[]> {
    const request = { ...this.#options(options), ...outputLimit(options), commands };
    const ended = this.#agent.runChain(request);
    const last = ended.then((results) => ({ code: results.at(-1)?.code ?? null }));
    this.#observe(commands[0] ?? [], last).catch(() => {});
    return (await ended).map(execResult);
  }

  /** Counts how long a command takes, in a span of its own. */
  #observe<T extends { readonly code: number | null }>(
    argv: readonly string[],
    ended: Promise<T>,
  ): Promise<T> {
    const start = performance.now();
    return traced("supermachine.exec", commandAttributes(argv), async (span) => {
      try {
        const result = await ended;
        if (result.code !== null) span.setAttribute("process.exit.code", result.code);
        return result;
      } finally {
        this.latency.record((performance.now() - start) / 1000);
      }
    });
  }

  #options(options: CommandOptions): GuestOptions {
    const { user = this.#defaults.user, cwd = this.#defaults.cwd } = options;
    const { rlimits, stageFiles, timeoutMs, signal } = options;
    return {
      env: { ...this.#defaults.env, ...options.env },
      ...(cwd ? { cwd } : {}),
      ...(user ? { user } : {}),
      ...(rlimits === undefined ? {} : { rlimits }),
      ...(stageFiles === undefined ? {} : { stageFiles: stageFiles.map(absoluteIn(cwd || "/")) }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(signal === undefined ? {} : { signal }),
    };
  }
}

function absoluteIn(cwd: string): (file: StagedFile) => StagedFile {
  return (file) => ({ ...file, path: posix.resolve("/", cwd, file.path) });
}

function outputLimit({ maxOutputBytes }: ChainOptions): { maxOutputBytes?: number } {
  return maxOutputBytes === undefined ? {} : { maxOutputBytes };
}
