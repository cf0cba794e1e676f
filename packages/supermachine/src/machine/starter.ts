import { VcpuThreads } from "@supermachine/vmm/vcpu-threads";
import type { HypervisorKind, MachineConfig, RunningMachine } from "./config.js";
import type { VmDescription, VmParameters } from "./description.js";
import type { BareMachineStarter, HostOptions } from "./host.js";

/** A machine whose guest answers, and as what it is known. */
export interface StartedMachine {
  readonly machine: RunningMachine;
  readonly description: VmDescription;
}

/**
 * A machine about to be: what takes long to start is starting while its configuration is gathered.
 * Dispose one that is never started.
 */
export interface MachineStarter extends Disposable {
  /** Resolves when the guest answers; when that fails, nothing is left behind. */
  start(config: MachineConfig, vm: VmParameters, options: HostOptions): Promise<StartedMachine>;
}

/** What builds the machine itself. Dispose one that is never called. */
export interface PreparedMachine extends Disposable {
  readonly start: BareMachineStarter;
}

/** Prepares a machine in this process: its devices will be served from this thread's event loop. */
export function prepareBare(hypervisor: HypervisorKind, cpus: number): PreparedMachine {
  if (hypervisor === "qemu") {
    return {
      start: async (config, listener) => {
        const { startQemuMachine } = await import("./qemu.js");
        return startQemuMachine(config, listener);
      },
      [Symbol.dispose]: () => {},
    };
  }
  const threads = new VcpuThreads(new URL("./vcpu-thread.js", import.meta.url), cpus);
  return {
    start: async (config, listener) => {
      const { startKvmMachine } = await import("./kvm.js");
      return startKvmMachine(config, threads, listener);
    },
    [Symbol.dispose]: () => threads[Symbol.dispose](),
  };
}

/** Prepares a machine that this process runs. Others find it if it has a name. */
export function prepareInline(hypervisor: HypervisorKind, cpus: number): MachineStarter {
  const prepared = prepareBare(hypervisor, cpus);
  return {
    start: async (config, vm, options) => {
      const { startInline } = await import("./inline.js");
      return startInline(config, vm, prepared.start, options);
    },
    [Symbol.dispose]: () => prepared[Symbol.dispose](),
  };
}

/** Where a machine runs: in a process or worker thread of its own, or on the thread that starts it. */
export type Isolation = "process" | "thread" | "inline";

/** Where a machine runs. */
export interface Placement {
  readonly isolation: Isolation;
  /** Outlives this process. */
  readonly detached: boolean;
}

/** Prepares a machine where `placement` says. */
export async function prepareMachine(
  { isolation, detached }: Placement,
  hypervisor: HypervisorKind,
  cpus: number,
): Promise<MachineStarter> {
  if (isolation === "inline") return prepareInline(hypervisor, cpus);
  const { RemoteMachine } = await import("./remote-machine.js");
  if (isolation === "thread") {
    const { MachineThread } = await import("./thread.js");
    return new RemoteMachine(new MachineThread(hypervisor, cpus));
  }
  const { MachineProcess } = await import("./spawn.js");
  return new RemoteMachine(new MachineProcess(hypervisor, cpus, detached));
}
