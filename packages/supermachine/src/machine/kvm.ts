import { Kvm } from "@supermachine/kvm";
import { BalloonDevice, BlockDevice, FileBlockBackend, RngDevice } from "@supermachine/virtio";
import { Machine, type VcpuThreads } from "@supermachine/vmm";
import { SupermachineError } from "../errors.js";
import type { BareMachine, MachineConfig, MachineListener } from "./config.js";
import { openHostDevices } from "./devices.js";

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
  const machine = Machine.start({
    hypervisor,
    vcpuThread: vcpuThreads,
    memoryMiB: config.memoryMiB,
    cpus: config.cpus,
    kernel: config.kernel,
    initrd: config.initrd,
    commandLine: config.commandLine,
    devices: [
      new BlockDevice({ backend: rootDisk }),
      vsock,
      new RngDevice(),
      new BalloonDevice(),
      ...shares,
    ],
    onConsole: (bytes) => listener.onConsole(bytes),
    onDeviceFailure: (reason) => listener.onDeviceFailure(reason),
  });
  const unsupported = async (): Promise<never> => {
    throw new SupermachineError("ERR_VM_UNSUPPORTED", "a machine on KVM cannot do this yet");
  };
  return {
    exited: machine.exited,
    consoleLines: () => machine.consoleLines(),
    stop: () => machine.stop(),
    pause: unsupported,
    resume: unsupported,
    save: unsupported,
    metrics: unsupported,
  };
}
