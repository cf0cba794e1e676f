import { VcpuThreads } from "@supermachine/vmm/vcpu-threads";
import type { HypervisorKind, MachineConfig, MachineListener, RunningMachine } from "./config.js";

/**
 * A machine about to be: what takes long to start is starting while its configuration is gathered.
 * Dispose one that is never started.
 */
export interface MachineStarter extends Disposable {
  start(config: MachineConfig, listener: MachineListener): Promise<RunningMachine>;
}

/** Prepares a machine in this process: its devices will be served from this thread's event loop. */
export function prepareInline(hypervisor: HypervisorKind, cpus: number): MachineStarter {
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

/** Prepares a machine where `isolation` says. */
export async function prepareMachine(
  isolation: "process" | "inline",
  hypervisor: HypervisorKind,
  cpus: number,
): Promise<MachineStarter> {
  if (isolation === "inline") return prepareInline(hypervisor, cpus);
  const { SpawnedMachine } = await import("./spawn.js");
  return new SpawnedMachine(hypervisor, cpus);
}
