import { QemuMachine } from "@supermachine/qemu";
import { RuntimeDirectory } from "../runtime-directory.js";
import type { MachineConfig, MachineListener, RunningMachine } from "./config.js";
import { openHostDevices } from "./devices.js";

/** Starts a machine in QEMU; its vsock and shares are served by this thread over vhost-user. */
export async function startQemuMachine(
  config: MachineConfig,
  listener: MachineListener,
): Promise<RunningMachine> {
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
      onConsole: (bytes) => listener.onConsole?.(bytes),
    });
    return {
      vsock,
      exited: machine.exited.finally(() => directory[Symbol.dispose]()),
      consoleLines: () => machine.consoleLines(),
      stop: () => machine.stop(),
      [Symbol.asyncDispose]: () => machine[Symbol.asyncDispose](),
    };
  } catch (error) {
    directory[Symbol.dispose]();
    throw error;
  }
}
