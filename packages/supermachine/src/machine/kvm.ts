import { Kvm } from "@supermachine/kvm";
import { BalloonDevice, BlockDevice, FileBlockBackend, RngDevice } from "@supermachine/virtio";
import { Machine, type RestoreOptions, Snapshot, type VcpuThreads } from "@supermachine/vmm";
import { SupermachineError } from "../errors.js";
import type { BareMachine, MachineConfig, MachineListener, RestoreConfig } from "./config.js";
import { openHostDevices } from "./devices.js";
import { kvmMetrics, memoryTaken } from "./metrics.js";

/** Starts a machine on KVM; this thread becomes its device thread. */
export async function startKvmMachine(
  config: MachineConfig,
  vcpuThreads: VcpuThreads,
  listener: MachineListener,
): Promise<BareMachine> {
  const hypervisor = new Kvm();
  const availability = hypervisor.isAvailable();
  if (!availability.usable) {
    throw new SupermachineError("ERR_HYPERVISOR_UNAVAILABLE", availability.reason);
  }
  const { vsock, shares } = await openHostDevices(config, (size) =>
    hypervisor.createFileWindow(size),
  );
  listener.onVsock(vsock);
  const rootDisk = FileBlockBackend.open(config.rootfs, { readOnly: true });
  const balloon = new BalloonDevice();
  const parts = {
    hypervisor,
    vcpuThread: vcpuThreads,
    devices: [new BlockDevice({ backend: rootDisk }), vsock, new RngDevice(), balloon, ...shares],
    onConsole: (bytes: Uint8Array) => listener.onConsole(bytes),
    onDeviceFailure: (reason: Error) => listener.onDeviceFailure(reason),
  };
  const machine = await (config.restore === undefined
    ? Machine.start({
        ...parts,
        memoryMiB: config.memoryMiB,
        cpus: config.cpus,
        kernel: config.kernel,
        initrd: config.initrd,
        commandLine: config.commandLine,
        acpi: true,
      })
    : restore(parts, config.restore));
  return {
    exited: machine.exited,
    consoleLines: () => machine.consoleLines(),
    stop: () => machine.stop(),
    pause: () => machine.pause(),
    resume: () => machine.resume(),
    revert: () => machine.revert(),
    save: (directory, options) => machine.save(directory, options),
    metrics: (options) => kvmMetrics(machine, balloon, options),
    setMemoryTarget: async (memoryMiB) => {
      balloon.targetBytes = memoryTaken(memoryMiB, config.memoryMiB);
    },
  };
}

async function restore(
  parts: Omit<RestoreOptions, "snapshot">,
  { directory, verifyMemory = true }: RestoreConfig,
): Promise<Machine> {
  let snapshot: Snapshot;
  try {
    snapshot = Snapshot.open(directory);
  } catch (error) {
    for (const device of parts.devices ?? []) device.close();
    throw error;
  }
  try {
    return await Machine.restore({ ...parts, snapshot, verifyMemory });
  } finally {
    snapshot.close();
  }
}
