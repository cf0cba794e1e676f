import type { MachineConfig, MachineListener, RunningMachine } from "./config.js";

/**
 * Starts a machine in this process: its devices are served from this thread's event loop. What a
 * path needs is loaded when it is taken, so that a start pays only for its own.
 */
export async function startMachine(
  config: MachineConfig,
  listener: MachineListener,
): Promise<RunningMachine> {
  if (config.hypervisor === "kvm") {
    const { startKvmMachine } = await import("./kvm.js");
    return startKvmMachine(config, listener);
  }
  const { startQemuMachine } = await import("./qemu.js");
  return startQemuMachine(config, listener);
}
