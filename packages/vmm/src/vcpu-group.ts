import type { VcpuKickToken, VmHandle } from "@supermachine/hypervisor";
import type { DeviceBus } from "./device-bus.js";
import { VmmError } from "./errors.js";
import { VcpuControl } from "./vcpu-control.js";
import { VcpuGate } from "./vcpu-gate.js";
import type { VcpuMessage, VcpuStart, VcpuThreadData } from "./vcpu-thread.js";
import type { VcpuThreads } from "./vcpu-threads.js";

/** What every vCPU thread of a machine is given alike, beside what the group adds. */
export type SharedVcpuData = Omit<
  VcpuThreadData,
  "vm" | "index" | "cpus" | "control" | "gate" | "start"
>;

/** What a machine hears of its vCPUs. */
export interface VcpuGroupListener {
  onConsole(bytes: Uint8Array): void;
  onEnded(message: Extract<VcpuMessage, { type: "ended" }>): void;
  /** A thread is gone; with an error when it failed. */
  onExit(index: number, error: Error | undefined): void;
}

/** Kicks are repeated while vCPU threads are waited for: one may fall between two of their loops. */
const KICK_INTERVAL_MS = 20;

/** The vCPUs of a machine, as its device thread directs them: let run, made to wait, ended. */
export class VcpuGroup {
  /** Those of this thread. */
  static readonly #running = new Set<VcpuGroup>();
  static #watchesExit = false;
  readonly #vm: VmHandle;
  readonly #threads: VcpuThreads;
  readonly #gate: VcpuGate;
  readonly #control: VcpuControl;
  readonly #kicks: VcpuKickToken[] = [];
  /** Those who wait for all vCPUs to be parked. */
  readonly #waiting = new Set<{ resolve: () => void; reject: (reason: Error) => void }>();
  #kicker: NodeJS.Timeout | undefined;

  /** `isOpen`: whether the vCPUs run at once, or only after {@link VcpuGroup.release}. */
  constructor(vm: VmHandle, threads: VcpuThreads, isOpen: boolean) {
    this.#vm = vm;
    this.#threads = threads;
    this.#gate = VcpuGate.create(threads.count, isOpen);
    this.#control = VcpuControl.create(threads.count, this.#gate);
  }

  get count(): number {
    return this.#threads.count;
  }

  /** Runs the vCPUs to their end. `startOf` says how each begins. */
  async run(
    shared: SharedVcpuData,
    startOf: (index: number) => VcpuStart,
    bus: DeviceBus,
    listener: VcpuGroupListener,
  ): Promise<void> {
    const dataOf = (index: number): VcpuThreadData => ({
      ...shared,
      vm: this.#vm.token,
      index,
      cpus: this.count,
      gate: this.#gate.shared,
      control: this.#control.shared,
      start: startOf(index),
    });
    VcpuGroup.#running.add(this);
    if (!VcpuGroup.#watchesExit) process.once("exit", VcpuGroup.#stopAll);
    VcpuGroup.#watchesExit = true;
    await this.#threads.run(dataOf, {
      onMessage: (index, message) => {
        if (message.type === "ready") this.#kicks[index] = message.kick;
        else if (message.type === "request") this.#control.serve(index, bus);
        else if (message.type === "console") listener.onConsole(message.bytes);
        else if (message.type === "parked") this.#onParked();
        else listener.onEnded(message);
      },
      onExit: (index, error) => listener.onExit(index, error),
    });
    VcpuGroup.#running.delete(this);
    this.#stopKicking();
  }

  /** Node.js waits for worker threads when the process exits, and a vCPU does not leave the guest by itself. */
  static readonly #stopAll = (): void => {
    for (const group of VcpuGroup.#running) group.stop("the process exits");
  };

  /**
   * Makes all vCPUs wait, with the exits they had completed. They may be running, or not have begun.
   *
   * @throws VmmError `ERR_VMM_BUSY` after `timeoutMs`; they run on then. `ERR_VMM_ENDED`.
   */
  async park(timeoutMs: number): Promise<void> {
    this.#gate.close();
    if (this.areParked) return;
    this.#kickUntilStopped();
    let timer: NodeJS.Timeout | undefined;
    const parked = new Promise<void>((resolve, reject) => {
      const waiting = { resolve, reject };
      this.#waiting.add(waiting);
      timer = setTimeout(() => {
        this.#waiting.delete(waiting);
        this.#gate.open();
        const missing = this.count - this.#gate.parkedCount;
        reject(
          new VmmError(
            "ERR_VMM_BUSY",
            `the machine cannot be paused: ${missing} vCPUs did not stop within ${timeoutMs} ms; try again`,
          ),
        );
      }, timeoutMs);
      // All may have come while this one looked.
      this.#onParked();
    });
    try {
      await parked;
    } finally {
      clearTimeout(timer);
      if (!this.#gate.stopping) this.#stopKicking();
    }
  }

  /** Lets parked vCPUs run. */
  release(): void {
    this.#gate.open();
  }

  /** Whether all vCPUs wait, until they are released. */
  get areParked(): boolean {
    return this.#gate.areAllParked;
  }

  /** The states of the parked vCPUs: see {@link VcpuGate.collectStates}. */
  collectStates(): Uint8Array[] {
    return this.#gate.collectStates();
  }

  /** Gives the parked vCPUs states: see {@link VcpuGate.replaceStates}. */
  replaceStates(states: readonly Uint8Array[]): void {
    this.#gate.replaceStates(states);
  }

  /** Makes the vCPU threads end, whatever they are at. */
  stop(reason: string): void {
    this.#gate.stop();
    this.#control.releaseAll();
    for (const { reject } of this.#waiting) {
      reject(new VmmError("ERR_VMM_ENDED", `the machine has ended: ${reason}`));
    }
    this.#waiting.clear();
    this.#kickUntilStopped();
  }

  #onParked(): void {
    if (!this.areParked) return;
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting.clear();
  }

  #kickUntilStopped(): void {
    const kick = () => {
      for (const token of this.#kicks) if (token !== undefined) this.#vm.kick(token);
    };
    kick();
    this.#kicker ??= setInterval(kick, KICK_INTERVAL_MS);
  }

  #stopKicking(): void {
    clearInterval(this.#kicker);
    this.#kicker = undefined;
  }
}
