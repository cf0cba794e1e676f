import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { cacheDirectory } from "@supermachine/guest";
import { MINIMUM_GUEST_SPEED, measureGuestSpeed } from "@supermachine/hypervisor";
import { Kvm } from "@supermachine/kvm";
import { findQemu } from "@supermachine/qemu";
import { SupermachineError } from "./errors.js";

const kvm = new Kvm();

/** What to run guests on: `auto` takes the first that really runs them. */
export type HypervisorName = "auto" | "kvm" | "qemu";

/** One way to run a guest, and whether it works here. */
export interface HypervisorStatus {
  readonly name: "kvm" | "qemu";
  readonly usable: boolean;
  /** Guest instructions per second, where it was measured. */
  readonly instructionsPerSecond?: number;
  /** For a person: the version or speed found, or why it cannot be used and what to do. */
  readonly detail: string;
}

/** What runs the guest, and what to tell the user about it. */
export interface HypervisorChoice {
  readonly name: "kvm" | "qemu";
  /** One line, when it is not what the user would expect. */
  readonly notice?: string;
}

/**
 * The speed of guests on KVM. Measured once per boot of the host: some cloud machines offer a
 * /dev/kvm that interprets the guest, which no flag tells.
 */
function kvmSpeed(): number {
  const file = join(cacheDirectory(), "kvm-speed.json");
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  try {
    const cached: unknown = JSON.parse(readFileSync(file, "utf8"));
    if (typeof cached === "object" && cached !== null && "boot" in cached && "speed" in cached) {
      if (cached.boot === boot && typeof cached.speed === "number") return cached.speed;
    }
  } catch {
    // Not measured yet, or unreadable: measure.
  }
  const speed = measureGuestSpeed(kvm).instructionsPerSecond;
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(`${file}.${process.pid}`, JSON.stringify({ boot, speed }));
    renameSync(`${file}.${process.pid}`, file);
  } catch {
    // A cache that cannot be written costs the next start a measurement.
  }
  return speed;
}

export function kvmStatus(): HypervisorStatus {
  const availability = kvm.isAvailable();
  if (!availability.usable) return { name: "kvm", usable: false, detail: availability.reason };
  try {
    const instructionsPerSecond = kvmSpeed();
    const speed = `${formatSpeed(instructionsPerSecond)} guest instructions per second`;
    return instructionsPerSecond >= MINIMUM_GUEST_SPEED
      ? { name: "kvm", usable: true, instructionsPerSecond, detail: speed }
      : {
          name: "kvm",
          usable: false,
          instructionsPerSecond,
          detail: `this /dev/kvm emulates instead of running guests: ${speed}`,
        };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { name: "kvm", usable: false, detail: `a trial guest failed: ${reason}` };
  }
}

export async function qemuStatus(): Promise<HypervisorStatus> {
  try {
    const { path, version } = await findQemu();
    return { name: "qemu", usable: true, detail: `QEMU ${version} (${path}), software emulation` };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { name: "qemu", usable: false, detail: reason };
  }
}

function formatSpeed(perSecond: number): string {
  return perSecond >= 1e9
    ? `${(perSecond / 1e9).toFixed(1)} billion`
    : `${(perSecond / 1e6).toFixed(1)} million`;
}

/**
 * Decides what runs the guest.
 *
 * @throws {@link SupermachineError} `ERR_HYPERVISOR_UNAVAILABLE` when nothing, or not what was asked
 *   for, can.
 */
export async function chooseHypervisor(wanted: HypervisorName): Promise<HypervisorChoice> {
  if (wanted === "kvm") {
    const availability = kvm.isAvailable();
    if (availability.usable) return { name: "kvm" };
    throw new SupermachineError("ERR_HYPERVISOR_UNAVAILABLE", availability.reason);
  }
  if (wanted === "qemu") return { name: "qemu" };
  const native = kvmStatus();
  if (native.usable) return { name: "kvm" };
  const fallback = await qemuStatus();
  if (fallback.usable) {
    return { name: "qemu", notice: `running in QEMU, slower: ${native.detail}` };
  }
  throw new SupermachineError(
    "ERR_HYPERVISOR_UNAVAILABLE",
    `nothing here can run a guest: KVM: ${native.detail}; QEMU: ${fallback.detail}`,
  );
}
