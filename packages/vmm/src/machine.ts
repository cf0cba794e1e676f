import type { HostMemory, Hypervisor, VcpuKickToken, VmHandle } from "@supermachine/hypervisor";
import { GuestMemory, type GuestMemoryRegion, type VirtioDevice } from "@supermachine/virtio";
import {
  ConsoleLog,
  type MachineExit,
  type MachineExitReason,
} from "@supermachine-internal/console";
import { ResourceStack } from "@supermachine-internal/libc";
import { type LinuxEntry, loadLinux } from "./boot/linux.js";
import { writeLongModeTables } from "./boot/long-mode.js";
import { writeMpTable } from "./boot/mp-table.js";
import { openBootFile } from "./boot-file.js";
import { SERIAL_STATE_SIZE } from "./device/serial.js";
import { DeviceBus } from "./device-bus.js";
import { VmmError } from "./errors.js";
import { ramRanges } from "./memory-map.js";
import { MachineMeter, type MachineMetrics } from "./metrics/machine-metrics.js";
import { copiedMemory, placeSharedMemory } from "./shared-memory.js";
import { VcpuControl } from "./vcpu-control.js";
import type { VcpuMessage } from "./vcpu-thread.js";
import { VcpuThreads } from "./vcpu-threads.js";

/** The most vCPUs a machine can have. */
export const MAX_CPUS = 16;
const MIN_MEMORY_MIB = 16;
const MAX_MEMORY_MIB = 1024 * 1024;
/** Kicks are repeated while a vCPU thread has not ended: one may fall between two of its loops. */
const KICK_INTERVAL_MS = 20;

/** Options of {@link Machine.start}. */
export interface MachineOptions {
  readonly hypervisor: Hypervisor;
  /**
   * The module that calls `runVcpuThread(hypervisor)`; one worker thread of it runs per vCPU. Or such
   * threads, started ahead, as many as `cpus`: the machine takes them over.
   */
  readonly vcpuThread: URL | VcpuThreads;
  /** Guest memory in MiB, 16 to 1,048,576. */
  readonly memoryMiB: number;
  /** vCPUs, 1 to {@link MAX_CPUS}. Default 1. */
  readonly cpus?: number;
  /** Path of a 64-bit bzImage. */
  readonly kernel: string;
  /** Path of an initial RAM disk. */
  readonly initrd?: string | undefined;
  /** Kernel command line; the parameters that announce the devices are appended. */
  readonly commandLine: string;
  /** In the order in which the guest finds them. The machine activates and closes them. */
  readonly devices?: readonly VirtioDevice[];
  /** Receives what the guest prints on its serial console, as it comes. */
  readonly onConsole?: ((bytes: Uint8Array) => void) | undefined;
  /** Hears why a device stopped serving the guest: its driver broke the virtio protocol. */
  readonly onDeviceFailure?: ((reason: Error) => void) | undefined;
}

/**
 * One running x86-64 virtual machine. The thread that starts it is its device thread: virtqueues are
 * served from its event loop; each vCPU runs on a worker thread.
 */
export class Machine implements AsyncDisposable {
  /** Settles when the machine has ended and everything it owned is released. Never rejects. */
  readonly exited: Promise<MachineExit>;
  readonly #console = new ConsoleLog();
  readonly #resources = new ResourceStack();
  readonly #control: VcpuControl;
  readonly #vm: VmHandle;
  readonly #bus: DeviceBus;
  readonly #meter: MachineMeter;
  readonly #onConsole: ((bytes: Uint8Array) => void) | undefined;
  readonly #kicks: VcpuKickToken[] = [];
  #end: { reason: MachineExitReason; message: string } | undefined;
  #kicker: NodeJS.Timeout | undefined;

  /**
   * Builds the machine, loads the kernel and starts its vCPUs. Returns without waiting for the guest.
   *
   * @throws {@link VmmError}; nothing is left behind then, and the devices are closed.
   */
  static start(options: MachineOptions): Machine {
    return new Machine(options);
  }

  private constructor(options: MachineOptions) {
    const cpus = options.cpus ?? 1;
    const { hypervisor, memoryMiB } = options;
    const resources = this.#resources;
    this.#onConsole = options.onConsole;
    this.#control = VcpuControl.create(cpus);
    try {
      for (const device of options.devices ?? []) resources.use(device);
      checkRange("cpus", cpus, 1, MAX_CPUS);
      const threads = resources.use(vcpuThreads(options.vcpuThread, cpus));
      checkRange("memoryMiB", memoryMiB, MIN_MEMORY_MIB, MAX_MEMORY_MIB);
      const ram = ramRanges(memoryMiB);
      const ramMemory = ram.map(({ size }) => resources.use(allocate(hypervisor, size)));
      this.#meter = new MachineMeter(cpus, ramMemory);
      const sharedMemory = placeSharedMemory(options.devices ?? [], memoryMiB, ram.length);
      const memory = new GuestMemory(
        ram.map(({ guestAddress }, i) => ramRegion(guestAddress, ramMemory[i])),
        sharedMemory.map(copiedMemory),
      );
      this.#vm = resources.use(createVm(hypervisor, cpus));
      ram.forEach(({ guestAddress, size }, slot) => {
        const hostAddress = ramMemory[slot]?.address ?? 0n;
        this.#vm.mapMemory({ slot, guestAddress, hostAddress, size });
      });
      this.#vm.createInterruptController();
      this.#bus = resources.use(
        new DeviceBus(this.#vm, memory, options.devices ?? [], sharedMemory, (reason) =>
          options.onDeviceFailure?.(reason),
        ),
      );

      const commandLine = `${options.commandLine} ${this.#bus.kernelParameters()}`.trim();
      const entry = boot(memory, ram, { ...options, commandLine }, cpus);
      this.exited = this.#run(threads, entry);
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

  /** Ends the machine at once, as pulling the plug would. Idempotent. */
  async stop(): Promise<MachineExit> {
    this.#finish("stopped", "the machine was stopped");
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Runs the vCPUs to their end and releases everything. */
  async #run(threads: VcpuThreads, entry: LinuxEntry): Promise<MachineExit> {
    const shared = {
      vm: this.#vm.token,
      cpus: threads.count,
      registers: this.#bus.registers,
      serial: new SharedArrayBuffer(SERIAL_STATE_SIZE),
      control: this.#control.shared,
      counters: this.#meter.shared,
    };
    const dataOf = (index: number) =>
      index === 0 ? { ...shared, index, entry } : { ...shared, index };
    await threads.run(dataOf, {
      onMessage: (index, message) => this.#onMessage(index, message),
      // A thread that ends without a word still ends the machine.
      onExit: (index, error) => {
        const reason = error === undefined ? "ended unexpectedly" : `failed: ${error.message}`;
        this.#finish("hypervisor-error", `the thread of vCPU ${index} ${reason}`);
      },
    });
    clearInterval(this.#kicker);
    this.#resources.dispose();
    const { reason, message } = this.#end ?? { reason: "stopped", message: "" };
    return { reason, message, console: this.#console.lines() };
  }

  #onMessage(index: number, message: VcpuMessage): void {
    switch (message.type) {
      case "ready":
        this.#kicks[index] = message.kick;
        return;
      case "request":
        this.#control.serve(index, this.#bus);
        return;
      case "console":
        this.#console.append(message.bytes);
        this.#onConsole?.(message.bytes);
        return;
      case "ended":
        this.#onEnded(message);
    }
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
    this.#control.stop();
    const kick = () => {
      for (const token of this.#kicks) if (token !== undefined) this.#vm.kick(token);
    };
    kick();
    this.#kicker = setInterval(kick, KICK_INTERVAL_MS);
  }
}

function checkRange(option: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new VmmError(
    "ERR_VMM_OPTION",
    `${option} is ${value}; give a whole number ${min} to ${max}`,
  );
}

function vcpuThreads(given: URL | VcpuThreads, cpus: number): VcpuThreads {
  if (given instanceof URL) return new VcpuThreads(given, cpus);
  if (given.count === cpus) return given;
  given[Symbol.dispose]();
  throw new VmmError("ERR_VMM_OPTION", `${given.count} vCPU threads for ${cpus} vCPUs`);
}

function ramRegion(guestAddress: number, memory: HostMemory | undefined): GuestMemoryRegion {
  if (memory === undefined) throw new RangeError("no host memory for a RAM range");
  return {
    guestAddress,
    buffer: memory.view(),
    discard: (offset, length) => memory.discard(offset, length),
  };
}

function allocate(hypervisor: Hypervisor, size: number): HostMemory {
  try {
    return hypervisor.allocateMemory(size);
  } catch (cause) {
    throw new VmmError(
      "ERR_VMM_HYPERVISOR",
      `the host gives no ${size / 2 ** 20} MiB for the guest's memory; ask for less`,
      { cause },
    );
  }
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

function boot(
  memory: GuestMemory,
  ram: ReturnType<typeof ramRanges>,
  options: Pick<MachineOptions, "kernel" | "initrd" | "commandLine">,
  cpus: number,
): LinuxEntry {
  using kernel = openBootFile(options.kernel, "kernel");
  using initrd =
    options.initrd === undefined ? undefined : openBootFile(options.initrd, "initial RAM disk");
  const { commandLine } = options;
  const entry = loadLinux(memory, ram, { kernel, initrd, commandLine });
  writeLongModeTables(memory);
  writeMpTable(memory, cpus);
  return entry;
}
