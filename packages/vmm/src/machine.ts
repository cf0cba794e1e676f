import type { Hypervisor, VmHandle } from "@supermachine/hypervisor";
import { GuestMemory } from "@supermachine/virtio";
import {
  ConsoleLog,
  type MachineExit,
  type MachineExitReason,
} from "@supermachine-internal/console";
import { ResourceStack } from "@supermachine-internal/libc";
import { bootLinux } from "./boot/boot-linux.js";
import type { LinuxEntry } from "./boot/linux.js";
import { GenerationId } from "./device/generation-id.js";
import { SERIAL_STATE_SIZE } from "./device/serial.js";
import { DeviceBus } from "./device-bus.js";
import { VmmError } from "./errors.js";
import { GuestRam } from "./guest-ram.js";
import {
  checkCpus,
  checkMemory,
  type MachineHost,
  type MachineOptions,
  type RestoreOptions,
} from "./machine-options.js";
import { MachineMeter, type MachineMetrics } from "./metrics/machine-metrics.js";
import { copiedMemory, placeSharedMemory } from "./shared-memory.js";
import { heardAll, type RevertedParts, revertMachine } from "./snapshot/revert.js";
import { type SavedParts, type SaveOptions, saveMachine } from "./snapshot/save.js";
import type { Snapshot } from "./snapshot/snapshot.js";
import { VcpuGroup } from "./vcpu-group.js";
import type { VcpuMessage, VcpuStart } from "./vcpu-thread.js";
import { VcpuThreads } from "./vcpu-threads.js";

/** How long vCPUs may take to come to rest; devices as long again. */
const PAUSE_LIMIT_MS = 5000;
/** How long the threads of a restored machine may take to come up, on a busy host. */
const RESTORE_LIMIT_MS = 30_000;

/**
 * One running x86-64 virtual machine. The thread that starts it is its device thread: virtqueues are
 * served from its event loop; each vCPU runs on a worker thread.
 */
export class Machine implements AsyncDisposable {
  /** Settles when the machine has ended and everything it owned is released. Never rejects. */
  readonly exited: Promise<MachineExit>;
  readonly #console = new ConsoleLog();
  readonly #resources = new ResourceStack();
  readonly #hypervisor: Hypervisor;
  readonly #memoryMiB: number;
  readonly #ram: GuestRam;
  readonly #vm: VmHandle;
  readonly #vcpus: VcpuGroup;
  readonly #bus: DeviceBus;
  readonly #generationId: GenerationId;
  readonly #meter: MachineMeter;
  readonly #serial = new SharedArrayBuffer(SERIAL_STATE_SIZE);
  /** What the memory shows of files: the snapshot that the machine went on from. */
  readonly #origin: Snapshot["state"] | undefined;
  readonly #onConsole: ((bytes: Uint8Array) => void) | undefined;
  #end: { reason: MachineExitReason; message: string } | undefined;
  #pausing: Promise<void> | undefined;
  /** Whether the vCPUs are to wait, apart from what a save needs. */
  #isPauseWanted = false;

  /**
   * Builds the machine, loads the kernel and starts its vCPUs. Returns without waiting for the guest.
   *
   * @throws {@link VmmError}; nothing is left behind then, and the devices are closed.
   */
  static start(options: MachineOptions): Machine {
    return new Machine(options, undefined);
  }

  /**
   * Builds a machine that goes on from a snapshot, as many from one as wanted. The devices are new ones of
   * the same kinds in the same order; the vsock tells its guest that all connections are gone. The
   * guest's clock goes on from when it was saved, and it knows nothing of the restore.
   *
   * @throws {@link VmmError}; nothing is left behind then, and the devices are closed.
   */
  static async restore(options: RestoreOptions): Promise<Machine> {
    const { memoryMiB, cpus, state } = options.snapshot;
    const machine = new Machine({ ...options, memoryMiB, cpus }, options.snapshot);
    try {
      await machine.#vcpus.park(RESTORE_LIMIT_MS);
      // In this order: the interrupt controller delivers what is pending to the vCPUs, devices to it.
      machine.#vm.restoreState(state.vm);
      machine.#bus.restore(state.devices);
      machine.#generationId.renew();
      machine.#vcpus.release();
      return machine;
    } catch (error) {
      const { message } = await machine.stop();
      if (!(error instanceof VmmError)) throw hypervisorFailure(error);
      if (error.code !== "ERR_VMM_ENDED") throw error;
      throw new VmmError(
        "ERR_VMM_SNAPSHOT_CPU",
        `the snapshot ${options.snapshot.directory} cannot go on here: ${message}`,
        { cause: error },
      );
    }
  }

  private constructor(
    options: MachineHost & Partial<MachineOptions> & Partial<RestoreOptions>,
    snapshot: Snapshot | undefined,
  ) {
    const { hypervisor, cpus = 1, memoryMiB = 0, devices = [] } = options;
    const resources = this.#resources;
    this.#onConsole = options.onConsole;
    this.#hypervisor = hypervisor;
    this.#memoryMiB = memoryMiB;
    this.#origin = snapshot?.state;
    try {
      for (const device of devices) resources.use(device);
      checkCpus(cpus);
      const threads = resources.use(vcpuThreads(options.vcpuThread, cpus));
      checkMemory(memoryMiB);
      if (snapshot !== undefined) checkSnapshot(snapshot, options);
      this.#ram = resources.use(
        snapshot === undefined
          ? GuestRam.allocate(hypervisor, memoryMiB)
          : GuestRam.restore(hypervisor, snapshot),
      );
      this.#meter = new MachineMeter(cpus, this.#ram.memory);
      const sharedMemory = placeSharedMemory(devices, memoryMiB, this.#ram.ranges.length);
      const memory = new GuestMemory(this.#ram.regions, sharedMemory.map(copiedMemory));
      this.#vm = resources.use(createVm(hypervisor, cpus));
      this.#ram.mapInto(this.#vm);
      this.#vm.createInterruptController();
      const onFailure = (reason: Error) => options.onDeviceFailure?.(reason);
      this.#bus = resources.use(new DeviceBus(this.#vm, memory, devices, sharedMemory, onFailure));
      this.#generationId = resources.use(new GenerationId(this.#vm, memory));
      this.#vcpus = new VcpuGroup(this.#vm, threads, snapshot === undefined);
      this.exited = this.#run(
        snapshot === undefined
          ? startBooting(bootLinux(memory, this.#ram.ranges, this.#bus, options, cpus))
          : this.#startRestored(snapshot),
      );
    } catch (error) {
      resources.dispose();
      throw error instanceof VmmError ? error : hypervisorFailure(error);
    }
  }

  /** The last lines of the guest's console, oldest first. */
  consoleLines(): readonly string[] {
    return this.#console.lines();
  }

  /**
   * What the machine uses and does, measured now: its vCPUs and devices go on meanwhile.
   *
   * @throws {@link VmmError} `ERR_VMM_ENDED`
   */
  async metrics(): Promise<MachineMetrics> {
    if (this.#end !== undefined) {
      throw new VmmError(
        "ERR_VMM_ENDED",
        `no metrics: the machine has ended: ${this.#end.message}`,
      );
    }
    return this.#meter.read(this.#bus.devices);
  }

  /** Whether the vCPUs wait, or are about to. */
  get paused(): boolean {
    return this.#isPauseWanted;
  }

  /**
   * Makes the vCPUs wait until {@link Machine.resume}. Devices still take what the host gives them.
   * Idempotent.
   *
   * @throws {@link VmmError} `ERR_VMM_BUSY` when one does not stop within 5 s: they all run on then.
   * `ERR_VMM_ENDED`.
   */
  async pause(): Promise<void> {
    this.#requireRunning("be paused");
    this.#isPauseWanted = true;
    try {
      await this.#park();
    } catch (error) {
      this.#isPauseWanted = false;
      throw error;
    }
  }

  /** Lets the vCPUs run on. The guest's clocks have gone on meanwhile. Idempotent. */
  async resume(): Promise<void> {
    this.#isPauseWanted = false;
    await this.#release();
  }

  /**
   * Writes a snapshot into a new directory, which appears when it is complete. The vCPUs wait while it is
   * taken, and run on while it is flushed to disk; those of a paused machine go on waiting.
   *
   * @throws {@link VmmError} `ERR_VMM_BUSY` when a device's requests are not done within 5 s,
   * `ERR_VMM_SNAPSHOT_BASE`, `ERR_VMM_SNAPSHOT_SPACE`, `ERR_VMM_SNAPSHOT_WRITE`, `ERR_VMM_SNAPSHOT_DEVICES`
   * or `ERR_VMM_ENDED`. Nothing is left of the snapshot then.
   */
  async save(directory: string, options: SaveOptions = {}): Promise<void> {
    this.#requireRunning("be saved");
    await saveMachine(this.#parts, directory, options, {
      pause: () => this.#park(),
      resume: () => (this.#isPauseWanted ? Promise.resolve() : this.#release()),
    });
  }

  /**
   * Makes a machine that went on from a snapshot what it was then, however long ago: memory, processors and
   * devices; connections and open files of its guest end. It costs what the guest has written to since. The
   * vCPUs wait afterwards, until {@link Machine.resume}.
   *
   * @throws {@link VmmError} `ERR_VMM_SNAPSHOT_NONE` for a machine that booted, `ERR_VMM_BUSY` when a vCPU does not
   * stop within 5 s, `ERR_VMM_ENDED`. Any other failure, such as that requests of a device are not done within
   * 5 s, ends the machine.
   */
  async revert(): Promise<void> {
    this.#requireRunning("go back");
    const origin = this.#origin;
    if (origin === undefined) {
      throw new VmmError(
        "ERR_VMM_SNAPSHOT_NONE",
        "the machine did not go on from a snapshot: there is none to go back to",
      );
    }
    // Whoever resumed at the same time may have let them run again.
    do await this.pause();
    while (!this.#vcpus.areParked);
    // Whoever wants to resume or save meanwhile waits for all of it.
    this.#pausing = this.#goBack(origin);
    await this.#pausing;
  }

  /** Ends the machine at once, as pulling the plug would. Idempotent. */
  async stop(): Promise<MachineExit> {
    this.#finish("stopped", "the machine was stopped");
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #park(): Promise<void> {
    this.#requireRunning("be paused");
    this.#pausing ??= this.#vcpus.park(PAUSE_LIMIT_MS).catch((error: unknown) => {
      this.#pausing = undefined;
      throw error;
    });
    await this.#pausing;
  }

  async #release(): Promise<void> {
    const pausing = this.#pausing;
    if (pausing === undefined) return;
    await pausing;
    if (this.#pausing !== pausing || this.#isPauseWanted) return;
    this.#pausing = undefined;
    this.#vcpus.release();
  }

  get #parts(): SavedParts & RevertedParts {
    return {
      hypervisor: this.#hypervisor,
      memoryMiB: this.#memoryMiB,
      ram: this.#ram,
      vm: this.#vm,
      vcpus: this.#vcpus,
      bus: this.#bus,
      serial: this.#serial,
      origin: this.#origin,
      generationId: this.#generationId,
    };
  }

  async #goBack(origin: Snapshot["state"]): Promise<void> {
    try {
      await revertMachine(this.#parts, origin);
      await heardAll();
      this.#console.clear();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#finish("hypervisor-error", `the machine cannot go back to its snapshot: ${reason}`);
      throw error instanceof VmmError ? error : hypervisorFailure(error);
    }
    this.#requireRunning("go back");
  }

  #requireRunning(what: string): void {
    if (this.#end === undefined) return;
    throw new VmmError(
      "ERR_VMM_ENDED",
      `the machine cannot ${what}, for it has ended: ${this.#end.message}`,
    );
  }

  #startRestored({ state }: Snapshot): (index: number) => VcpuStart {
    const serial = new Uint8Array(this.#serial);
    if (state.serial.length !== serial.length) {
      throw new VmmError(
        "ERR_VMM_SNAPSHOT_CORRUPT",
        "the snapshot has no state of the serial port; make it anew",
      );
    }
    serial.set(state.serial);
    return (index) => ({ type: "restore", state: state.vcpus[index] ?? new Uint8Array() });
  }

  /** Runs the vCPUs to their end and releases everything. */
  async #run(startOf: (index: number) => VcpuStart): Promise<MachineExit> {
    const shared = {
      registers: this.#bus.registers,
      serial: this.#serial,
      counters: this.#meter.shared,
    };
    await this.#vcpus.run(shared, startOf, this.#bus, {
      onConsole: (bytes) => {
        this.#console.append(bytes);
        this.#onConsole?.(bytes);
      },
      onEnded: (message) => this.#onEnded(message),
      // A thread that ends without a word still ends the machine.
      onExit: (index, error) => {
        const reason = error === undefined ? "ended unexpectedly" : `failed: ${error.message}`;
        this.#finish("hypervisor-error", `the thread of vCPU ${index} ${reason}`);
      },
    });
    this.#resources.dispose();
    const { reason, message } = this.#end ?? { reason: "stopped", message: "" };
    return { reason, message, console: this.#console.lines() };
  }

  #onEnded({ end, detail }: Extract<VcpuMessage, { type: "ended" }>): void {
    const panic = this.#console.panic;
    if (end === "stopped") return;
    if (panic !== undefined) this.#finish("panic", `the guest's kernel panicked: ${panic}`);
    else if (end === "reset") this.#finish("shutdown", "the guest shut down");
    else if (end === "triple-fault") {
      this.#finish("triple-fault", `the guest's processor gave up with a triple fault: ${detail}`);
    } else if (end === "memory-fault") {
      this.#finish(
        "memory-fault",
        "the guest accessed a share's window of files where nothing is mapped, or wrote where it may only read",
      );
    } else this.#finish("hypervisor-error", `the hypervisor cannot run the guest on: ${detail}`);
  }

  /** The first reason wins; the vCPU threads are made to end. */
  #finish(reason: MachineExitReason, message: string): void {
    if (this.#end !== undefined) return;
    this.#end = { reason, message };
    this.#vcpus.stop(message);
  }
}

/** Before anything is built of it. */
function checkSnapshot(
  snapshot: Snapshot,
  { hypervisor, verifyMemory }: Pick<MachineHost, "hypervisor"> & Partial<RestoreOptions>,
): void {
  snapshot.checkHost(hypervisor);
  if (verifyMemory !== false) snapshot.verifyMemory();
}

/** The first vCPU enters the kernel, which starts the others. */
function startBooting(entry: LinuxEntry): (index: number) => VcpuStart {
  return (index) => (index === 0 ? { type: "boot", entry } : { type: "wait" });
}

function vcpuThreads(given: URL | VcpuThreads, cpus: number): VcpuThreads {
  if (given instanceof URL) return new VcpuThreads(given, cpus);
  if (given.count === cpus) return given;
  given[Symbol.dispose]();
  throw new VmmError("ERR_VMM_OPTION", `${given.count} vCPU threads for ${cpus} vCPUs`);
}

function createVm(hypervisor: Hypervisor, cpus: number): VmHandle {
  const vm = hypervisor.createVm({ maxVcpus: cpus });
  const { interruptController, irqfd, ioeventfd } = vm.capabilities;
  if (interruptController && irqfd && ioeventfd) return vm;
  vm.close();
  throw new VmmError(
    "ERR_VMM_HYPERVISOR",
    `${hypervisor.name} has no in-kernel interrupt controller, irqfd or ioeventfd here, which this machine needs`,
  );
}

function hypervisorFailure(cause: unknown): VmmError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new VmmError("ERR_VMM_HYPERVISOR", `the machine cannot be built: ${reason}`, { cause });
}
