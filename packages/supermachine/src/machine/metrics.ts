import { readFile } from "node:fs/promises";
import type { BalloonDevice, MemoryStatistics } from "@supermachine/virtio";
import type { MachineMetrics as BareMetrics, Machine } from "@supermachine/vmm";
import { SupermachineError } from "../errors.js";

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

const MiB = 2 ** 20;
/** Below that no guest has room to work. */
const MIN_TARGET_MIB = 16;

/** Bytes to take from a guest of `sizeMiB`. @throws SupermachineError ERR_OPTION. */
export function memoryTaken(targetMiB: number, sizeMiB: number): number {
  if (Number.isInteger(targetMiB) && targetMiB >= MIN_TARGET_MIB && targetMiB <= sizeMiB) {
    return (sizeMiB - targetMiB) * MiB;
  }
  const message = `${targetMiB} MiB for the guest: give a whole number ${MIN_TARGET_MIB} to ${sizeMiB}`;
  throw new SupermachineError("ERR_OPTION", message);
}

/** Clock ticks of proc(5): 100 a second on every Linux there is (`getconf CLK_TCK`). */
const TICKS_PER_SECOND = 100;
/** Resident KiB of the memory file that holds the guest's memory, in /proc/PID/smaps. */
const GUEST_MEMORY = /memfd:[\s\S]*?\nRss:\s+(\d+) kB/;

/**
 * The metrics of a machine in QEMU, from what the kernel knows of its process: QEMU tells nothing of vCPUs
 * and devices.
 */
export async function qemuMetrics(
  pid: number,
  memoryMiB: number,
  startedAt: number,
): Promise<MachineMetrics> {
  const read = (name: string) => readFile(`/proc/${pid}/${name}`, "latin1").catch(() => "");
  const [stat, status, smaps] = await Promise.all([read("stat"), read("status"), read("smaps")]);
  // Fields 14 and 15; the command's name, field 2, may hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  const residentKiB = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
  const guestKiB = GUEST_MEMORY.exec(smaps)?.[1];
  return {
    uptimeSeconds: (performance.now() - startedAt) / 1000,
    vcpus: [],
    memory: {
      sizeBytes: memoryMiB * MiB,
      ...(guestKiB === undefined ? {} : { residentBytes: Number(guestKiB) * 1024 }),
    },
    devices: [],
    process: { cpuSeconds: ticks / TICKS_PER_SECOND, residentBytes: residentKiB * 1024 },
  };
}
