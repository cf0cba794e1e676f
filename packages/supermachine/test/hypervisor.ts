import { missing } from "@supermachine-internal/testing";

/**
 * What runs the guests of these tests: KVM in the lab (or where a person vouches for it), where it
 * really runs them, QEMU elsewhere.
 */
export const hypervisor = missing("lab") === undefined ? "kvm" : "qemu";
