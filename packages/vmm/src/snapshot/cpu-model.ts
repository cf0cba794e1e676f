import type { Hypervisor, X86CpuidEntry } from "@supermachine/hypervisor";
import { VmmError } from "../errors.js";

/** What a guest may have learnt of the processor, and relies on after a restore. */
export interface CpuModel {
  /** Twelve letters, such as `AuthenticAMD`. */
  readonly vendor: string;
  /** Family, model and stepping: EAX of leaf 1. */
  readonly signature: number;
  /** The words of {@link featureWords}. */
  readonly features: readonly number[];
}

type Register = "eax" | "ebx" | "ecx" | "edx";

/** OSXSAVE and OSPKE say what the host's kernel has enabled, not what there is. */
const OSXSAVE = 1 << 27;
const OSPKE = 1 << 4;

/** The words of CPUID whose bits are features: leaf, sub-leaf, register, bits to leave out. */
const featureWords: readonly (readonly [number, number, Register, number])[] = [
  [0x1, 0, "ecx", OSXSAVE],
  [0x1, 0, "edx", 0],
  [0x7, 0, "ebx", 0],
  [0x7, 0, "ecx", OSPKE],
  [0x7, 0, "edx", 0],
  [0x7, 1, "eax", 0],
  [0x7, 1, "edx", 0],
  [0xd, 0, "eax", 0],
  [0xd, 1, "eax", 0],
  [0x8000_0001, 0, "ecx", 0],
  [0x8000_0001, 0, "edx", 0],
  [0x8000_0007, 0, "edx", 0],
  [0x8000_0008, 0, "ebx", 0],
  [0x8000_0021, 0, "eax", 0],
  // What KVM itself offers to guests.
  [0x4000_0001, 0, "eax", 0],
];

/** The processor that `hypervisor` offers to guests on this host. */
export function cpuModel({ name, x86 }: Hypervisor): CpuModel {
  if (x86 === undefined) {
    throw new VmmError("ERR_VMM_HYPERVISOR", `${name} has no x86-64 processors`);
  }
  const entries = x86.supportedCpuid();
  const leaf = (number: number, index: number): X86CpuidEntry | undefined =>
    entries.find((entry) => entry.function === number && entry.index === index);
  const { ebx = 0, ecx = 0, edx = 0 } = leaf(0, 0) ?? {};
  const vendor = Buffer.alloc(12);
  for (const [n, word] of [ebx, edx, ecx].entries()) vendor.writeUInt32LE(word >>> 0, 4 * n);
  return {
    vendor: vendor.toString("latin1"),
    signature: (leaf(1, 0)?.eax ?? 0) >>> 0,
    features: featureWords.map(
      ([number, index, register, ignored]) =>
        ((leaf(number, index)?.[register] ?? 0) & ~ignored) >>> 0,
    ),
  };
}

function describe({ vendor, signature }: CpuModel): string {
  return `${vendor} 0x${signature.toString(16)}`;
}

/**
 * Whether a guest that ran on `saved` can go on on `host`: the same model with no feature less.
 *
 * @throws VmmError `ERR_VMM_SNAPSHOT_CPU`
 */
export function checkCpuModel(name: string, saved: CpuModel, host: CpuModel): void {
  const refuse = (detail: string) => {
    throw new VmmError(
      "ERR_VMM_SNAPSHOT_CPU",
      `the snapshot ${name} was made on ${describe(saved)}, and this is ${describe(host)}${detail}: make it anew here`,
    );
  };
  if (saved.vendor !== host.vendor || saved.signature !== host.signature) refuse("");
  for (const [n, [leaf, index, register]] of featureWords.entries()) {
    const missing = ((saved.features[n] ?? 0) & ~(host.features[n] ?? 0)) >>> 0;
    if (missing === 0) continue;
    const word = `CPUID 0x${leaf.toString(16)}.${index} ${register}`;
    refuse(` without features it had there (${word} 0x${missing.toString(16)})`);
  }
}
