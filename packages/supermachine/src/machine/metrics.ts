import type { BalloonDevice, MemoryStatistics } from "@supermachine/virtio";
import type { MachineMetrics as BareMetrics, Machine } from "@supermachine/vmm";

/** Options of {@link MachineMetrics | metrics}. */
export interface MetricsOptions {
  /** Asks the guest about its memory, too: it must run for that, and has a second to answer. Default false. */
  readonly guest?: boolean;
}

/** What a machine uses and does: totals since its start, as plain data. */
export interface MachineMetrics extends Omit<BareMetrics, "memory"> {
  readonly memory: BareMetrics["memory"] & {
    /** Bytes that the guest is asked to leave to the host, and those that it says it does. On KVM only. */
    readonly balloon?: { readonly targetBytes: number; readonly actualBytes: number };
    /** What the guest says of its memory: see {@link MetricsOptions.guest}. On KVM only. */
    readonly guest?: MemoryStatistics;
  };
  /** The process that runs the machine: its own, the caller's when the machine is inline, or QEMU's. */
  readonly process: { readonly cpuSeconds: number; readonly residentBytes: number };
}

/** The metrics of a machine that this process runs on KVM. */
export async function kvmMetrics(
  machine: Machine,
  balloon: BalloonDevice,
  { guest: asked = false }: MetricsOptions,
): Promise<MachineMetrics> {
  const guest = asked ? await balloon.statistics() : undefined;
  const { memory, ...metrics } = await machine.metrics();
  const { targetBytes, actualBytes } = balloon;
  const { user, system } = process.cpuUsage();
  return {
    ...metrics,
    memory: {
      ...memory,
      balloon: { targetBytes, actualBytes },
      ...(guest === undefined ? {} : { guest }),
    },
    process: { cpuSeconds: (user + system) / 1e6, residentBytes: process.memoryUsage.rss() },
  };
}
