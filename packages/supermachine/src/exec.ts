import { posix } from "node:path";
import type {
  AgentClient,
  ExecOptions as GuestOptions,
  ResourceLimits,
  StagedFile,
} from "@supermachine/guest";
import { type ExecResult, execResult } from "./exec-result.js";
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

  constructor(agent: AgentClient, defaults: CommandDefaults) {
    this.#agent = agent;
    this.#defaults = defaults;
  }

  spawn(argv: readonly string[], options: SpawnOptions): VmProcess {
    const { stdin = false, tty } = options;
    const request = { ...this.#options(options), argv, stdin };
    return new VmProcess(this.#agent.exec(tty === undefined ? request : { ...request, tty }));
  }

  async exec(argv: readonly string[], options: ExecOptions): Promise<ExecResult> {
    const { input } = options;
    const request = { ...this.#options(options), ...outputLimit(options), argv };
    return execResult(await this.#agent.run(input === undefined ? request : { ...request, input }));
  }

  async chain(
    commands: readonly (readonly string[])[],
    options: ChainOptions,
  ): Promise<ExecResult[]> {
    const request = { ...this.#options(options), ...outputLimit(options), commands };
    return (await this.#agent.runChain(request)).map(execResult);
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
