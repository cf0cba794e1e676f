import type { HostMemory } from "@supermachine/hypervisor";
import type { MmioCounters, MmioDevice } from "@supermachine/virtio";
import {
  type AddressRange,
  currentThread,
  type MappedMemory,
  mappedMemory,
  type ThreadTime,
  threadTime,
} from "./usage.js";
import { VcpuCounters } from "./vcpu-counters.js";

/** One vCPU's share in {@link MachineMetrics}. Times are there on Linux hosts only. */
export interface VcpuMetrics extends Partial<ThreadTime> {
  /** Returns from the guest to us, by the lower-case name of the `ExitReason`; only those that happened. */
  readonly exits: Readonly<Record<string, number>>;
}

/** One device's share in {@link MachineMetrics}. */
export interface DeviceMetrics extends MmioCounters {
  /** What it is: `block`, `vsock`, `fs` and so on. */
  readonly type: string;
  /** Totals that only this type of device has, by name. */
  readonly totals: Readonly<Record<string, number>>;
}

/** What a machine uses and does: totals since its start, as plain data. */
export interface MachineMetrics {
  readonly uptimeSeconds: number;
  readonly vcpus: readonly VcpuMetrics[];
  /** The thread that serves the devices, with all else it does. On Linux hosts only. */
  readonly deviceThread?: ThreadTime;
  /** Guest memory: its size, and on Linux hosts what of it takes memory of the host now. */
  readonly memory: { readonly sizeBytes: number } & Partial<MappedMemory>;
  /** In the order in which the guest finds them. */
  readonly devices: readonly DeviceMetrics[];
}

/** Virtio 1.2, section 5. */
const deviceTypes: Readonly<Record<number, string>> = {
  1: "net",
  2: "block",
  3: "console",
  4: "rng",
  5: "balloon",
  19: "vsock",
  26: "fs",
};

/** Takes the measures of one machine. Made on its device thread. */
export class MachineMeter {
  /** For the vCPU threads: see {@link VcpuCounters}. */
  readonly shared: SharedArrayBuffer;
  readonly #vcpus: readonly VcpuCounters[];
  readonly #memory: readonly HostMemory[];
  readonly #deviceThread = currentThread();
  readonly #startedAt = performance.now();

  constructor(cpus: number, memory: readonly HostMemory[]) {
    this.shared = new SharedArrayBuffer(VcpuCounters.byteLength(cpus));
    this.#vcpus = Array.from({ length: cpus }, (_, cpu) => new VcpuCounters(this.shared, cpu));
    this.#memory = memory;
  }

  async read(devices: readonly MmioDevice[]): Promise<MachineMetrics> {
    const ranges: AddressRange[] = this.#memory.map(({ address, length }) => {
      return { start: address, end: address + BigInt(length) };
    });
    const [memory, deviceThread, ...vcpus] = await Promise.all([
      mappedMemory(ranges),
      threadTime(this.#deviceThread),
      ...this.#vcpus.map(async (counters) => {
        const time = await threadTime(counters.threadId);
        return { ...(time && counters.own(time)), exits: counters.exits() };
      }),
    ]);
    const sizeBytes = this.#memory.reduce((total, { length }) => total + length, 0);
    return {
      uptimeSeconds: (performance.now() - this.#startedAt) / 1000,
      vcpus,
      ...(deviceThread === undefined ? {} : { deviceThread }),
      memory: { sizeBytes, ...memory },
      devices: devices.map((mmio) => ({
        type: deviceTypes[mmio.device.deviceId] ?? String(mmio.device.deviceId),
        ...mmio.counters(),
        totals: mmio.device.counters?.() ?? {},
      })),
    };
  }
}
