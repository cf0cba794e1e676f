import type { Hypervisor } from "@supermachine/hypervisor";
import type { VirtioDevice } from "@supermachine/virtio";
import { VmmError } from "./errors.js";
import type { Snapshot } from "./snapshot/snapshot.js";
import type { VcpuThreads } from "./vcpu-threads.js";

/** The most vCPUs a machine can have. */
export const MAX_CPUS = 16;
const MIN_MEMORY_MIB = 16;
const MAX_MEMORY_MIB = 1024 * 1024;
/** What a machine is given however it begins. */
export interface MachineHost {
  readonly hypervisor: Hypervisor;
  /**
   * The module that calls `runVcpuThread(hypervisor)`; one worker thread of it runs per vCPU. Or such
   * threads, started ahead, as many as `cpus`: the machine takes them over.
   */
  readonly vcpuThread: URL | VcpuThreads;
  /** In the order in which the guest finds them. The machine activates and closes them. */
  readonly devices?: readonly VirtioDevice[];
  /** Receives what the guest prints on its serial console, as it comes. */
  readonly onConsole?: ((bytes: Uint8Array) => void) | undefined;
  /** Hears why a device stopped serving the guest: its driver broke the virtio protocol. */
  readonly onDeviceFailure?: ((reason: Error) => void) | undefined;
}

/** Options of `Machine.start`. */
export interface MachineOptions extends MachineHost {
  /** Guest memory in MiB, 16 to 1,048,576. */
  readonly memoryMiB: number;
  /** vCPUs, 1 to {@link MAX_CPUS}. Default 1. */
  readonly cpus?: number;
  /** Path of a 64-bit bzImage. */
  readonly kernel: string;
  /** Path of an initial RAM disk. */
  readonly initrd?: string | undefined;
  readonly commandLine: string;
  /**
   * Describes the machine by ACPI tables, by which the guest's kernel also learns that it has been restored.
   * Not every kernel with ACPI can read them: see the README. Default false: MP tables, and parameters
   * appended to the command line, describe the processors and devices.
   */
  readonly acpi?: boolean;
}

/** Options of `Machine.restore`. */
export interface RestoreOptions extends MachineHost {
  /** Stays the caller's, who may close it once the machine runs. */
  readonly snapshot: Snapshot;
  /**
   * Reads all of the saved memory first and compares its checksums. Default true. False for a snapshot that
   * this process has made or verified already: it is mapped then, and read as the guest needs it.
   */
  readonly verifyMemory?: boolean;
}

/** @throws {@link VmmError} `ERR_VMM_OPTION` */
export function checkCpus(cpus: number): void {
  checkRange("cpus", cpus, 1, MAX_CPUS);
}

/** @throws {@link VmmError} `ERR_VMM_OPTION` */
export function checkMemory(memoryMiB: number): void {
  checkRange("memoryMiB", memoryMiB, MIN_MEMORY_MIB, MAX_MEMORY_MIB);
}

function checkRange(option: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new VmmError(
    "ERR_VMM_OPTION",
    `${option} is ${value}; give a whole number ${min} to ${max}`,
  );
}
