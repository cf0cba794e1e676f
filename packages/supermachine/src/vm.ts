import { resolve } from "node:path";
import {
  AgentClient,
  CONTROL_PORT,
  type ExecRequest,
  ensureInitramfs,
  ensureKernel,
  type GuestProcess,
  kernelCommandLine,
  type VsockConnector,
} from "@supermachine/guest";
import { ImageStore, type StoredImage } from "@supermachine/oci";
import type { MachineExit } from "@supermachine/vmm";
import { SupermachineError } from "./errors.js";
import { type ExecOptions, type ExecResult, execResult, type SpawnOptions } from "./exec.js";
import { chooseHypervisor, type HypervisorName } from "./hypervisor-choice.js";
import type {
  MachineConfig,
  MachineListener,
  RunningMachine,
  Share,
  SymlinkPolicy,
} from "./machine/config.js";

/** A host directory that the guest sees. */
export interface Mount {
  /** Host directory; relative paths start at the working directory. */
  readonly host: string;
  /** Absolute path in the guest; made when it does not exist. */
  readonly guest: string;
  /** Default false. */
  readonly readOnly?: boolean;
  /** What symbolic links in it may do. Default `opaque`: the guest resolves them, never the host. */
  readonly symlinks?: SymlinkPolicy;
}

/** Options of {@link Vm.start}. */
export interface VmOptions {
  /** Name of an image in the store. */
  readonly image: string;
  /** Where images are looked up. Default: the user's store. */
  readonly store?: ImageStore;
  /** Default 256. */
  readonly memoryMiB?: number;
  /** vCPUs, 1 to 16. Default 1. */
  readonly cpus?: number;
  readonly mounts?: readonly Mount[];
  /** Added to the image's environment for every command. */
  readonly env?: Readonly<Record<string, string>>;
  /** Host name in the guest. Default: derived from the image's name. */
  readonly hostname?: string;
  /** Default `auto`. */
  readonly hypervisor?: HypervisorName;
  /**
   * Where the machine runs: `process`, the default, isolates the caller from anything that happens to
   * it; `inline` serves its devices from the caller's own event loop, which starts fastest.
   */
  readonly isolation?: "process" | "inline";
  /** How long the guest may take to come up, in milliseconds. Default 30,000; 120,000 under QEMU. */
  readonly bootTimeoutMs?: number;
  /** Gives up the start. */
  readonly signal?: AbortSignal;
  /** Receives the guest's console as it comes. */
  readonly onConsole?: (bytes: Uint8Array) => void;
  /** Receives one-line remarks, such as that QEMU stands in for a missing hypervisor. */
  readonly onNotice?: (notice: string) => void;
}

const DEFAULT_MEMORY_MIB = 256;
const BOOT_TIMEOUT_MS = { kvm: 30_000, qemu: 120_000 };
const SHUTDOWN_TIMEOUT_MS = 2_000;
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** A running microVM. Stop it with {@link Vm.stop} or `await using`. */
export class Vm implements AsyncDisposable {
  readonly image: StoredImage;
  /** What runs the guest. */
  readonly hypervisor: "kvm" | "qemu";
  /** Settles when the machine has ended. Never rejects. */
  readonly exited: Promise<MachineExit>;
  readonly #machine: RunningMachine;
  readonly #agent: AgentClient;
  readonly #env: Readonly<Record<string, string>>;

  private constructor(
    image: StoredImage,
    hypervisor: "kvm" | "qemu",
    machine: RunningMachine,
    agent: AgentClient,
    env: Readonly<Record<string, string>>,
  ) {
    this.image = image;
    this.hypervisor = hypervisor;
    this.exited = machine.exited;
    this.#machine = machine;
    this.#agent = agent;
    this.#env = env;
  }

  /**
   * Starts a machine around an image and waits until its guest answers.
   *
   * @throws {@link SupermachineError} and the errors of the layers below, by `code`; nothing is left
   *   behind then.
   */
  static async start(options: VmOptions): Promise<Vm> {
    const { signal } = options;
    signal?.throwIfAborted();
    const store = options.store ?? new ImageStore();
    const image = await store.get(options.image);
    const { name: hypervisor, notice } = await chooseHypervisor(options.hypervisor ?? "auto");
    if (notice !== undefined) options.onNotice?.(notice);
    const config = await machineConfig(options, image, hypervisor);

    const timeoutMs = options.bootTimeoutMs ?? BOOT_TIMEOUT_MS[hypervisor];
    const over = new AbortController();
    const timeout = AbortSignal.timeout(timeoutMs);
    const bootSignal = AbortSignal.any([over.signal, timeout, ...(signal ? [signal] : [])]);
    let accepted: Promise<AgentClient> | undefined;
    const machine = await startIn(options.isolation ?? "process", config, {
      onVsock: (vsock: VsockConnector) => {
        accepted = AgentClient.accept(vsock, { timeoutMs, signal: bootSignal });
        accepted.catch(() => {});
      },
      ...(options.onConsole === undefined ? {} : { onConsole: options.onConsole }),
    }).catch((error: unknown) => {
      over.abort();
      throw error;
    });
    try {
      const ended = machine.exited.then((exit) => Promise.reject(bootFailure(exit)));
      ended.catch(() => {});
      const agent = await Promise.race([accepted ?? ended, ended]);
      return new Vm(image, hypervisor, machine, agent, {
        PATH: DEFAULT_PATH,
        ...image.config.env,
        ...options.env,
      });
    } catch (error) {
      over.abort();
      await machine.stop();
      signal?.throwIfAborted();
      if (!timeout.aborted) throw error;
      throw new SupermachineError(
        "ERR_VM_BOOT_TIMEOUT",
        `the guest was not ready within ${timeoutMs} ms${consoleTail(machine.consoleLines())}`,
        { cause: error },
      );
    }
  }

  /** Starts a command in the guest. `argv[0]` is looked up in the guest's PATH. */
  spawn(argv: readonly string[], options: SpawnOptions = {}): GuestProcess {
    return this.#agent.exec({ ...this.#request(argv, options), stdin: options.stdin ?? false });
  }

  /** Runs a command in the guest to its end and collects what it prints. A non-zero exit does not throw. */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const { input, maxOutputBytes } = options;
    const output = await this.#agent.run({
      ...this.#request(argv, options),
      ...(input === undefined ? {} : { input }),
      ...(maxOutputBytes === undefined ? {} : { maxOutputBytes }),
    });
    return execResult(output);
  }

  /** The last lines of the guest's console. */
  consoleLines(): readonly string[] {
    return this.#machine.consoleLines();
  }

  /** Shuts the guest down, and ends the machine when that takes more than two seconds. Idempotent. */
  async stop(): Promise<MachineExit> {
    const timer = setTimeout(() => void this.#machine.stop(), SHUTDOWN_TIMEOUT_MS);
    try {
      await this.#agent.shutdown().catch(() => this.#machine.stop());
      return await this.exited;
    } finally {
      clearTimeout(timer);
      this.#agent.close();
    }
  }

  /** Ends the machine at once, without asking the guest. Idempotent. */
  async kill(): Promise<MachineExit> {
    return this.#machine.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #request(argv: readonly string[], options: SpawnOptions): ExecRequest {
    const { config } = this.image;
    const { tty, timeoutMs, signal, user = config.user, cwd = config.workdir } = options;
    return {
      argv,
      env: { ...this.#env, ...options.env },
      ...(cwd ? { cwd } : {}),
      ...(user ? { user } : {}),
      ...(tty === undefined ? {} : { tty }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(signal === undefined ? {} : { signal }),
    };
  }
}

async function startIn(
  isolation: "process" | "inline",
  config: MachineConfig,
  listener: MachineListener,
): Promise<RunningMachine> {
  if (isolation === "inline") {
    const { startMachine } = await import("./machine/start.js");
    return startMachine(config, listener);
  }
  const { spawnMachine } = await import("./machine/spawn.js");
  return spawnMachine(config, [CONTROL_PORT], listener);
}

async function machineConfig(
  options: VmOptions,
  image: StoredImage,
  hypervisor: "kvm" | "qemu",
): Promise<MachineConfig> {
  const mounts = options.mounts ?? [];
  const shares: Share[] = mounts.map(({ host, guest, readOnly, symlinks }, index) => {
    if (!guest.startsWith("/")) {
      throw new SupermachineError("ERR_OPTION", `${guest}: give an absolute path in the guest`);
    }
    return {
      tag: `share${index}`,
      host: resolve(host),
      readOnly: readOnly ?? false,
      symlinks: symlinks ?? "opaque",
    };
  });
  return {
    hypervisor,
    memoryMiB: options.memoryMiB ?? DEFAULT_MEMORY_MIB,
    cpus: options.cpus ?? 1,
    kernel: await ensureKernel(),
    initrd: await ensureInitramfs(),
    rootfs: image.rootfsPath,
    shares,
    commandLine: kernelCommandLine({
      root: "/dev/vda",
      console: "ttyS0",
      hostname: options.hostname ?? image.name.replace(/[^A-Za-z0-9-]+/g, "-").slice(0, 63),
      shares: shares.map(({ tag, readOnly }, index) => ({
        tag,
        path: mounts[index]?.guest ?? "/",
        readOnly,
      })),
      // A triple fault would look like a crash; QEMU's microvm has no keyboard controller.
      reset: hypervisor === "kvm" ? "keyboard-controller" : "triple-fault",
    }),
  };
}

function consoleTail(lines: readonly string[]): string {
  if (lines.length === 0) return "; its console is empty";
  return `; the last lines of its console:\n${lines.slice(-20).join("\n")}`;
}

function bootFailure({ message, console: lines }: MachineExit): SupermachineError {
  return new SupermachineError(
    "ERR_VM_BOOT_FAILED",
    `the machine ended before its guest was ready: ${message}${consoleTail(lines)}`,
  );
}
