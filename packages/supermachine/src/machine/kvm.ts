import { kvm } from "@supermachine/kvm";
import type { VirtioDevice } from "@supermachine/virtio";
import { Machine } from "@supermachine/vmm";
import type { MachineConfig, MachineListener, RunningMachine } from "./config.js";
import { createEntropySource, createVsock, openRootDisk, openShare } from "./devices.js";

/** Starts a machine on KVM; this thread becomes its device thread. */
export function startKvmMachine(config: MachineConfig, listener: MachineListener): RunningMachine {
  const vsock = createVsock();
  const devices: VirtioDevice[] = [vsock];
  try {
    devices.push(openRootDisk(config.rootfs), createEntropySource());
    for (const share of config.shares) devices.push(openShare(share));
  } catch (error) {
    for (const device of devices) device.close();
    throw error;
  }
  listener.onVsock(vsock);
  const machine = Machine.start({
    hypervisor: kvm,
    vcpuThread: new URL("./vcpu-thread.js", import.meta.url),
    memoryMiB: config.memoryMiB,
    cpus: config.cpus,
    kernel: config.kernel,
    initrd: config.initrd,
    commandLine: config.commandLine,
    devices,
    onConsole: (bytes) => listener.onConsole?.(bytes),
  });
  return {
    vsock,
    exited: machine.exited,
    consoleLines: () => machine.console.lines(),
    stop: () => machine.stop(),
    [Symbol.asyncDispose]: () => machine[Symbol.asyncDispose](),
  };
}
