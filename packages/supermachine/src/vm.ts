import { resolve } from "node:path";
import { AgentClient } from "@supermachine/guest";
import { SupermachineError } from "./errors.js";
import { type ChainOptions, Commands, type ExecOptions, type SpawnOptions } from "./exec.js";
import type { ExecResult } from "./exec-result.js";
import { VmFiles } from "./files/vm-files.js";
import type {
  EventOptions,
  HypervisorKind,
  LogEntry,
  LogOptions,
  MachineEvent,
  MachineHealth,
  MachineStatus,
  RunningMachine,
  SaveOptions,
  VmExit,
} from "./machine/config.js";
import type { VmDescription } from "./machine/description.js";
import type { MetricsOptions } from "./machine/metrics.js";
import type { StartedMachine } from "./machine/starter.js";
import type { VmMetrics } from "./metrics/prometheus.js";
import { findVm, registeredVms } from "./registry.js";
import { ForkDirectory } from "./snapshot/fork-directory.js";
import { restoreMachine } from "./snapshot/restore.js";
import type { ForkOptions, RestoreVmOptions } from "./snapshot/restore-options.js";
import { withSnapshotErrors } from "./snapshot/snapshot-error.js";
import { checkPlacement, startMachine } from "./start.js";
import { traced } from "./tracing.js";
import type { VmOptions } from "./vm-options.js";
import type { VmProcess } from "./vm-process.js";

/** A running microVM. Stop it with {@link Vm.stop} or `await using`. */
export class Vm implements AsyncDisposable {
  /** What it was started as. */
  readonly description: VmDescription;
  /** Settles when the machine has ended. Never rejects. */
  readonly exited: Promise<VmExit>;
  /** The guest's files, and copies to and from them. */
  readonly files: VmFiles;
  readonly #machine: RunningMachine;
  readonly #commands: Commands;

  /** Use {@link Vm.start} or {@link Vm.connect}. */
  constructor({ machine, description }: StartedMachine) {
    this.description = description;
    this.exited = machine.exited;
    this.#machine = machine;
    const agent = new AgentClient(machine.vsock, {
      isPaused: async () => (await machine.status()) === "paused",
    });
    this.files = new VmFiles(agent);
    const { workdir: cwd, user } = description.image.config;
    this.#commands = new Commands(agent, { env: description.env, cwd, user });
  }

  /**
   * Starts a machine around an image and waits until its guest answers.
   *
   * @throws {@link SupermachineError} and the errors of the layers below, by `code`; nothing is left
   *   behind then.
   */
  static async start(options: VmOptions): Promise<Vm> {
    return new Vm(await startMachine(options));
  }

  /**
   * Starts a machine that goes on from a snapshot, and waits until its guest answers. Before anything else of
   * the guest runs it is told the time, and given another identity and fresh random numbers. Needs KVM.
   *
   * @throws {@link SupermachineError} ERR_SNAPSHOT_* for a snapshot that does not fit here, by reason; else as
   *   {@link Vm.start}. Nothing is left behind then.
   */
  static async restore(options: RestoreVmOptions): Promise<Vm> {
    options.signal?.throwIfAborted();
    checkPlacement(options);
    const attributes = { "supermachine.snapshot": options.snapshot };
    return traced("supermachine.restore", attributes, async () => {
      return new Vm(await restoreMachine(options, false));
    });
  }

  /**
   * Finds a machine that runs, by its name, its id or the first digits of that. What it is told here, the
   * process that runs it does; letting go of it with {@link Vm.close} changes nothing there.
   *
   * @throws {@link SupermachineError} ERR_VM_NOT_FOUND, ERR_VM_STOPPED, ERR_VM_TIMEOUT, ERR_VM_PROTOCOL.
   */
  static async connect(nameOrId: string): Promise<Vm> {
    const { ControlClient } = await import("./machine/control/client.js");
    const { directory, description } = findVm(nameOrId);
    const isProcessShared = description.threadId !== undefined;
    const machine = await ControlClient.connect(directory, { isProcessShared });
    return new Vm({ machine, description });
  }

  /** The machines of this user that other processes can find, oldest first. */
  static async list(): Promise<VmDescription[]> {
    return registeredVms().map(({ description }) => description);
  }

  get id(): string {
    return this.description.id;
  }

  get name(): string {
    return this.description.name;
  }

  get image(): VmDescription["image"] {
    return this.description.image;
  }

  /** What runs the guest. */
  get hypervisor(): HypervisorKind {
    return this.description.hypervisor;
  }

  /**
   * Starts a command in the guest; the result has its streams, and tells how it ends. `argv[0]` is looked up in
   * the guest's PATH.
   *
   * @throws `AgentError` ERR_EXEC_INVALID for what cannot be asked, such as more than 1 MiB of arguments.
   */
  spawn(argv: readonly string[], options: SpawnOptions = {}): VmProcess {
    return this.#commands.spawn(argv, options);
  }

  /** Runs a command in the guest to its end and collects what it prints. A non-zero exit does not throw. */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return this.#commands.exec(argv, options);
  }

  /**
   * Runs up to 256 commands one after the other, as long as they succeed, in one round trip. Returns a result for
   * each that ran, of which the last may be a failure. `timeoutMs` is for all of them together.
   */
  async chain(
    commands: readonly (readonly string[])[],
    options: ChainOptions = {},
  ): Promise<ExecResult[]> {
    return this.#commands.chain(commands, options);
  }

  async status(): Promise<MachineStatus> {
    return this.#machine.status();
  }

  /** Tells a machine that runs from one whose guest answers, within `timeoutMs`: 1000 unless given. */
  async health(options?: { readonly timeoutMs?: number }): Promise<MachineHealth> {
    return this.#machine.health(options);
  }

  /** Stops the guest's processors until {@link Vm.resume}. Idempotent. */
  async pause(): Promise<void> {
    await this.#machine.pause();
  }

  /** Lets a paused guest run on, with the right time. Idempotent. */
  async resume(): Promise<void> {
    await this.#machine.resume();
  }

  /**
   * Writes a snapshot to a new directory, which appears when it is complete; the machine stands still
   * meanwhile. Connections to programs in the guest end in what goes on from it.
   *
   * @throws {@link SupermachineError} ERR_SNAPSHOT_*; nothing is left of the snapshot then.
   */
  async snapshot(directory: string, options?: SaveOptions): Promise<void> {
    const attributes = { "supermachine.image": this.image.name };
    await traced("supermachine.snapshot", attributes, () =>
      withSnapshotErrors(() => this.#machine.save(resolve(directory), options)),
    );
  }

  /**
   * Makes a machine that started from a snapshot, baked or not, what it was then: its memory, processes and open files.
   * It has another identity and fresh random numbers afterwards, as any that goes on from a snapshot. Takes a few
   * milliseconds and what the guest has written to. What runs in the guest, and copies to and from it, end. Files that
   * it has changed in shared directories stay as they are.
   *
   * @throws {@link SupermachineError} ERR_SNAPSHOT_NONE for a machine that booted, ERR_SNAPSHOT_UNSUPPORTED in QEMU and
   *   for a machine with a command of its own: they run on. Any other failure ends the machine.
   */
  async revert(): Promise<void> {
    const attributes = { "supermachine.image": this.image.name };
    await traced("supermachine.revert", attributes, () =>
      withSnapshotErrors(() => this.#machine.revert()),
    );
  }

  /**
   * Starts `count` machines that go on from where this one is now, sharing its memory until they write to it.
   * This one stands still while they are prepared, then goes on, too.
   *
   * @throws {@link SupermachineError} as {@link Vm.snapshot} and {@link Vm.restore}; no copy is left then.
   */
  async fork(count = 1, options: ForkOptions = {}): Promise<Vm[]> {
    const { directory, ...others } = options;
    using memory = new ForkDirectory(directory);
    await this.snapshot(memory.path);
    const restore = { ...others, snapshot: memory.path, verifyMemory: false };
    const started = await Promise.allSettled(
      Array.from({ length: count }, () => restoreMachine(restore, true)),
    );
    const vms = started.flatMap((result) =>
      result.status === "fulfilled" ? [new Vm(result.value)] : [],
    );
    const failed = started.find((result) => result.status === "rejected");
    if (failed === undefined) return vms;
    await Promise.all(vms.map((vm) => vm.kill()));
    throw failed.reason;
  }

  /** What the machine uses and does: totals since its start. See `toPrometheus`. */
  async metrics(options?: MetricsOptions): Promise<VmMetrics> {
    const { name, image, hypervisor } = this;
    const exec = this.#commands.latency.read();
    return { ...(await this.#machine.metrics(options)), name, image: image.name, hypervisor, exec };
  }

  /**
   * Lets the guest have `memoryMiB` of its memory, from 16 to all of it. The rest it gives to the host as it can
   * spare it, and takes back what it needs when it would run out of memory: `metrics().memory.balloon` tells how
   * far it got. What a guest frees goes to the host in any case.
   *
   * @throws {@link SupermachineError} ERR_OPTION; ERR_VM_UNSUPPORTED in QEMU.
   */
  async setMemoryTarget(memoryMiB: number): Promise<void> {
    await this.#machine.setMemoryTarget(memoryMiB);
  }

  /**
   * What happened to the machine, from the oldest event that is kept, and what happens until its end, which
   * is the last event.
   */
  events(options?: EventOptions): AsyncIterable<MachineEvent> {
    return this.#machine.events(options);
  }

  /** What the guest printed on its console: the last MiB, and with `follow` what comes. */
  logs(options?: LogOptions): AsyncIterable<LogEntry> {
    return this.#machine.logs(options);
  }

  /**
   * Shuts the guest down. What still runs in it after `timeoutMs` (2000 unless given) is killed; a guest
   * that is not gone a second later is ended. Idempotent.
   */
  async stop(options?: { readonly timeoutMs?: number }): Promise<VmExit> {
    return this.#machine.stop(options);
  }

  /** Ends the machine at once, without asking the guest. Idempotent. */
  async kill(): Promise<VmExit> {
    return this.#machine.kill();
  }

  /** Lets go of a machine that another process runs, without ending it. Then this process can end. */
  close(): void {
    this.#machine.close();
  }

  /** Stops the machine, or lets go of it if it is detached. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.description.detached) this.close();
    else await this.stop();
  }
}
