import { resolve } from "node:path";
import {
  AgentClient,
  type ExecRequest,
  ensureInitramfs,
  ensureKernel,
  type GuestProcess,
  kernelCommandLine,
  type VsockConnector,
} from "@supermachine/guest";
import { ImageStore, type StoredImage } from "@supermachine/oci/image-store";
import type { MachineExit } from "@supermachine/vmm";
import { SupermachineError } from "./errors.js";
import { type ExecOptions, type ExecResult, execResult, type SpawnOptions } from "./exec.js";
import { chooseHypervisor } from "./hypervisor/choice.js";
import type { HypervisorName } from "./hypervisor/remembered.js";
import type {
  CachePolicy,
  DaxPolicy,
  HypervisorKind,
  MachineConfig,
  RunningMachine,
  Share,
  SymlinkPolicy,
} from "./machine/config.js";
import { type MachineStarter, prepareMachine } from "./machine/starter.js";

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
  /**
   * For how long the guest trusts what it has seen, when the host changes it: not at all (`none`), a second
   * (`auto`, the default), or for ever: names and attributes (`metadata`), contents too (`always`). virtio-fs
   * cannot tell a guest of changes, so the last two are for trees that only the guest changes, or nobody.
   */
  readonly cache?: CachePolicy;
  /**
   * The guest maps the host's file pages instead of reading copies of them (DAX): what it reads takes none
   * of its memory, and memory mapped with MAP_SHARED is shared with the host. `true`: all files, or
   * `ERR_DAX_UNAVAILABLE` where QEMU runs the guest. `"auto"`: files from 64 KiB on, if possible. Default
   * false.
   */
  readonly dax?: boolean | "auto";
  /**
   * How much of the files can be mapped at a time: 2 to 65,536 MiB, a multiple of 2. It takes host memory only
   * for what is mapped, and 1/64 of its size of the guest's. Default 256.
   */
  readonly daxWindowMiB?: number;
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
/** The most of any machine here. */
const MAX_CPUS = 16;
const BOOT_TIMEOUT_MS = { kvm: 30_000, qemu: 120_000 };
const SHUTDOWN_TIMEOUT_MS = 2_000;
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** A running microVM. Stop it with {@link Vm.stop} or `await using`. */
export class Vm implements AsyncDisposable {
  readonly image: StoredImage;
  /** What runs the guest. */
  readonly hypervisor: HypervisorKind;
  /** Settles when the machine has ended. Never rejects. */
  readonly exited: Promise<MachineExit>;
  readonly #machine: RunningMachine;
  readonly #agent: AgentClient;
  readonly #env: Readonly<Record<string, string>>;

  /** Use {@link Vm.start}. */
  constructor(parts: VmParts) {
    this.image = parts.image;
    this.hypervisor = parts.hypervisor;
    this.exited = parts.machine.exited;
    this.#machine = parts.machine;
    this.#agent = parts.agent;
    this.#env = parts.env;
  }

  /**
   * Starts a machine around an image and waits until its guest answers.
   *
   * @throws {@link SupermachineError} and the errors of the layers below, by `code`; nothing is left
   *   behind then.
   */
  static async start(options: VmOptions): Promise<Vm> {
    options.signal?.throwIfAborted();
    const { name, notice } = await chooseHypervisor(options.hypervisor ?? "auto");
    if (notice !== undefined) options.onNotice?.(notice);
    const { isolation = "process", cpus = 1 } = options;
    checkCpus(cpus);
    return startVm(options, name, await prepareMachine(isolation, name, cpus));
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

/** What a {@link Vm} is made of. */
interface VmParts {
  readonly image: StoredImage;
  readonly hypervisor: HypervisorKind;
  readonly machine: RunningMachine;
  readonly agent: AgentClient;
  readonly env: Readonly<Record<string, string>>;
}

/** {@link Vm.start} on a machine that was prepared for `hypervisor` and the options' CPUs. */
export async function startVm(
  options: VmOptions,
  hypervisor: HypervisorKind,
  starter: MachineStarter,
): Promise<Vm> {
  const { signal, onConsole } = options;
  const timeoutMs = options.bootTimeoutMs ?? BOOT_TIMEOUT_MS[hypervisor];
  const over = new AbortController();
  const timeout = AbortSignal.timeout(timeoutMs);
  const waiting = AbortSignal.any([over.signal, timeout, ...(signal ? [signal] : [])]);
  let machine: RunningMachine | undefined;
  try {
    const image = await (options.store ?? new ImageStore()).get(options.image);
    const config = await machineConfig(options, image, hypervisor);
    let accepted: Promise<AgentClient> | undefined;
    machine = await starter.start(config, {
      onVsock: (vsock: VsockConnector) => {
        accepted = AgentClient.accept(vsock, { timeoutMs, signal: waiting });
        accepted.catch(() => {});
      },
      ...(onConsole === undefined ? {} : { onConsole }),
    });
    const ended = machine.exited.then((exit) => Promise.reject(bootFailure(exit)));
    ended.catch(() => {});
    const agent = await Promise.race([accepted ?? ended, ended]);
    const env = { PATH: DEFAULT_PATH, ...image.config.env, ...options.env };
    return new Vm({ image, hypervisor, machine, agent, env });
  } catch (error) {
    over.abort();
    starter[Symbol.dispose]();
    await machine?.stop();
    signal?.throwIfAborted();
    if (!timeout.aborted) throw error;
    throw new SupermachineError(
      "ERR_VM_BOOT_TIMEOUT",
      `the guest was not ready within ${timeoutMs} ms${consoleTail(machine?.consoleLines() ?? [])}`,
      { cause: error },
    );
  }
}

function checkCpus(cpus: number): void {
  if (Number.isInteger(cpus) && cpus >= 1 && cpus <= MAX_CPUS) return;
  throw new SupermachineError("ERR_OPTION", `${cpus} CPUs: give a whole number 1 to ${MAX_CPUS}`);
}

async function machineConfig(
  options: VmOptions,
  image: StoredImage,
  hypervisor: HypervisorKind,
): Promise<MachineConfig> {
  const { mounts = [], signal, onNotice } = options;
  // Built on first use, which takes minutes: say so, and stop when told.
  const building = {
    ...(signal === undefined ? {} : { signal }),
    ...(onNotice === undefined ? {} : { onProgress: onNotice }),
  };
  const shares: Share[] = mounts.map(
    ({ host, guest, readOnly, symlinks, cache, dax, daxWindowMiB = 256 }, index) => {
      if (!guest.startsWith("/")) {
        throw new SupermachineError("ERR_OPTION", `${guest}: give an absolute path in the guest`);
      }
      return {
        tag: `share${index}`,
        host: resolve(host),
        readOnly: readOnly ?? false,
        symlinks: symlinks ?? "opaque",
        cache: cache ?? "auto",
        dax: daxPolicy(dax ?? false, guest, hypervisor),
        daxWindowMiB: checkedWindow(daxWindowMiB),
      };
    },
  );
  return {
    memoryMiB: options.memoryMiB ?? DEFAULT_MEMORY_MIB,
    cpus: options.cpus ?? 1,
    kernel: await ensureKernel(building),
    initrd: await ensureInitramfs(building),
    rootfs: image.rootfsPath,
    shares,
    commandLine: kernelCommandLine({
      root: "/dev/vda",
      console: "ttyS0",
      hostname: options.hostname ?? image.name.replace(/[^A-Za-z0-9-]+/g, "-").slice(0, 63),
      shares: shares.map(({ tag, readOnly, dax }, index) => ({
        tag,
        path: mounts[index]?.guest ?? "/",
        readOnly,
        // Without an option Linux maps the files that the host marks.
        dax: dax === "always",
      })),
      // A triple fault would look like a crash; QEMU's microvm has no keyboard controller.
      reset: hypervisor === "kvm" ? "keyboard-controller" : "triple-fault",
    }),
  };
}

function checkedWindow(daxWindowMiB: number): number {
  if (daxWindowMiB >= 2 && daxWindowMiB <= 65_536 && daxWindowMiB % 2 === 0) return daxWindowMiB;
  throw new SupermachineError(
    "ERR_OPTION",
    `a DAX window of ${daxWindowMiB} MiB: give a multiple of 2 from 2 to 65536`,
  );
}

/** QEMU 7.2 has no requests of vhost-user with which its process could be asked to map files. */
function daxPolicy(dax: boolean | "auto", guest: string, hypervisor: HypervisorKind): DaxPolicy {
  if (dax === false || (dax === "auto" && hypervisor === "qemu")) return "never";
  if (dax === "auto") return "inode";
  if (hypervisor !== "qemu") return "always";
  throw new SupermachineError(
    "ERR_DAX_UNAVAILABLE",
    `the mount on ${guest} asks for DAX, which a guest under QEMU cannot have; use dax: "auto" to do without there`,
  );
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
