import { MINIMUM_GUEST_SPEED, measureGuestSpeed } from "@supermachine/hypervisor";
import { Kvm } from "@supermachine/kvm";
import { findQemu } from "@supermachine/qemu";
import type { HypervisorKind } from "../machine/config.js";
import { type KvmSpeed, rememberedKvmSpeed, rememberKvmSpeed } from "./remembered.js";

/** One way to run a guest, and whether it works here. */
export interface HypervisorStatus {
  readonly name: HypervisorKind;
  readonly usable: boolean;
  /** Guest instructions per second, where it was measured. */
  readonly instructionsPerSecond?: number;
  /** For a person: the version or speed found, or why it cannot be used and what to do. */
  readonly detail: string;
}

function measureKvmSpeed(): KvmSpeed {
  const { instructionsPerSecond } = measureGuestSpeed(new Kvm());
  const speed = { instructionsPerSecond, usable: instructionsPerSecond >= MINIMUM_GUEST_SPEED };
  rememberKvmSpeed(speed);
  return speed;
}

/** Whether KVM runs guests here, by a trial guest unless one ran since the host's boot. */
export function kvmStatus(): HypervisorStatus {
  const availability = new Kvm().isAvailable();
  if (!availability.usable) return { name: "kvm", usable: false, detail: availability.reason };
  try {
    const { instructionsPerSecond, usable } = rememberedKvmSpeed() ?? measureKvmSpeed();
    const found = `${formatCount(instructionsPerSecond)} guest instructions per second`;
    const detail = usable ? found : `this /dev/kvm emulates instead of running guests: ${found}`;
    return { name: "kvm", usable, instructionsPerSecond, detail };
  } catch (error) {
    return { name: "kvm", usable: false, detail: `a trial guest failed: ${messageOf(error)}` };
  }
}

/** Whether QEMU is installed and new enough. */
export async function qemuStatus(): Promise<HypervisorStatus> {
  try {
    const { path, version } = await findQemu();
    return { name: "qemu", usable: true, detail: `QEMU ${version} (${path}), software emulation` };
  } catch (error) {
    return { name: "qemu", usable: false, detail: messageOf(error) };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function formatCount(count: number): string {
  return count >= 1e9
    ? `${(count / 1e9).toFixed(1)} billion`
    : `${(count / 1e6).toFixed(1)} million`;
}
