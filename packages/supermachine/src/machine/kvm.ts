import { Kvm } from "@supermachine/kvm";
import { Machine } from "@supermachine/vmm";
import type { MachineConfig, MachineListener, RunningMachine } from "./config.js";
import { createEntropySource, openHostDevices, openRootDisk } from "./devices.js";

/** Starts a machine on KVM; this thread becomes its device thread. */
export function startKvmMachine(config: MachineConfig, listener: MachineListener): RunningMachine {
  const { vsock, shares } = openHostDevices(config);
  listener.onVsock(vsock);
  const machine = Machine.start({
    hypervisor: new Kvm(),
    vcpuThread: new URL("./vcpu-thread.js", import.meta.url),
    memoryMiB: config.memoryMiB,
    cpus: config.cpus,
    kernel: config.kernel,
    initrd: config.initrd,
    commandLine: config.commandLine,
    devices: [openRootDisk(config.rootfs), vsock, createEntropySource(), ...shares],
    onConsole: (bytes) => listener.onConsole?.(bytes),
  });
  return {
    vsock,
    exited: machine.exited,
    consoleLines: () => machine.consoleLines(),
    stop: () => machine.stop(),
    [Symbol.asyncDispose]: () => machine[Symbol.asyncDispose](),
  };
}
