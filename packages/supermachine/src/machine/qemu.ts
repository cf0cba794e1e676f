import { QemuMachine } from "@supermachine/qemu";
import { SupermachineError, type SupermachineErrorCode } from "../errors.js";
import { RuntimeDirectory } from "../runtime-directory.js";
import type { BareMachine, MachineConfig, MachineListener } from "./config.js";
import { openHostDevices } from "./devices.js";
import { qemuMetrics } from "./metrics.js";

/** Starts a machine in QEMU; its vsock and shares are served by this thread over vhost-user. */
export async function startQemuMachine(
  config: MachineConfig,
  listener: MachineListener,
): Promise<BareMachine> {
  if (config.restore !== undefined) {
    await unsupported("ERR_SNAPSHOT_UNSUPPORTED", "be restored: snapshots need KVM");
  }
  const startedAt = performance.now();
  const directory = new RuntimeDirectory();
  try {
    const { vsock, shares } = await openHostDevices(config);
    listener.onVsock(vsock);
    const machine = await QemuMachine.start({
      kernel: config.kernel,
      initrd: config.initrd,
      commandLine: config.commandLine,
      memoryMiB: config.memoryMiB,
      cpus: config.cpus,
      disks: [{ path: config.rootfs, readOnly: true }],
      devices: [vsock, ...shares],
      runtimeDirectory: directory.path,
      onConsole: (bytes) => listener.onConsole(bytes),
      onDeviceFailure: (reason) => listener.onDeviceFailure(reason),
    });
    return {
      exited: machine.exited.finally(() => directory[Symbol.dispose]()),
      consoleLines: () => machine.consoleLines(),
      stop: () => machine.stop(),
      pause: () => machine.pause(),
      resume: () => machine.resume(),
      revert: () => unsupported("ERR_SNAPSHOT_UNSUPPORTED", "go back: snapshots need KVM"),
      save: () => unsupported("ERR_SNAPSHOT_UNSUPPORTED", "be saved: snapshots need KVM"),
      metrics: async () => qemuMetrics(machine.pid, config.memoryMiB, startedAt),
      setMemoryTarget: () => unsupported("ERR_VM_UNSUPPORTED", "be told to use less memory"),
    };
  } catch (error) {
    directory[Symbol.dispose]();
    throw error;
  }
}

async function unsupported(code: SupermachineErrorCode, what: string): Promise<never> {
  throw new SupermachineError(code, `a machine in QEMU cannot ${what}`);
}
