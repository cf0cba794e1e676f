import { SupermachineError } from "../errors.js";
import type { HypervisorKind } from "../machine/config.js";
import { type HypervisorName, rememberedChoice } from "./remembered.js";

/** What runs the guest, and what to tell the user about it. */
export interface HypervisorChoice {
  readonly name: HypervisorKind;
  /** One line, when it is not what the user would expect. */
  readonly notice?: string;
}

/**
 * Decides what runs the guest. What was measured once since the host's boot is not measured again.
 *
 * @throws {@link SupermachineError} `ERR_HYPERVISOR_UNAVAILABLE` when nothing here can.
 */
export async function chooseHypervisor(wanted: HypervisorName): Promise<HypervisorChoice> {
  // Whether what was asked for works shows when the machine is built.
  if (wanted !== "auto") return { name: wanted };
  if (rememberedChoice() === "kvm") return { name: "kvm" };
  const { kvmStatus, qemuStatus } = await import("./status.js");
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
