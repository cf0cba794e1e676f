import type { X86CpuidEntry } from "@supermachine/hypervisor";

const FEATURES = 0x1;
const EXTENDED_TOPOLOGY = 0xb;
const EXTENDED_TOPOLOGY_V2 = 0x1f;
const AMD_TOPOLOGY = 0x8000_001e;

const ECX_HYPERVISOR = 0x8000_0000;
const ECX_TSC_DEADLINE = 0x0100_0000;
const EDX_HYPERTHREADING = 0x1000_0000;
const LEVEL_THREAD = 1;
const LEVEL_CORE = 2;

const unsigned = (value: number) => value >>> 0;

/**
 * What CPUID tells vCPU `index` of `cpus`: the host's leaves with this vCPU's APIC id, one core per
 * vCPU in one package, and the hypervisor bit, without which Linux ignores kvm-clock and stalls
 * calibrating the TSC.
 */
export function vcpuCpuid(
  supported: readonly X86CpuidEntry[],
  index: number,
  cpus: number,
): X86CpuidEntry[] {
  const idBits = cpus > 1 ? 32 - Math.clz32(cpus - 1) : 0;
  return supported.map((leaf) => {
    switch (leaf.function) {
      case FEATURES:
        return {
          ...leaf,
          ebx: unsigned((leaf.ebx & 0x0000_ffff) | (cpus << 16) | (index << 24)),
          ecx: unsigned(leaf.ecx | ECX_HYPERVISOR | ECX_TSC_DEADLINE),
          edx: unsigned(cpus > 1 ? leaf.edx | EDX_HYPERTHREADING : leaf.edx & ~EDX_HYPERTHREADING),
        };
      case EXTENDED_TOPOLOGY:
      case EXTENDED_TOPOLOGY_V2: {
        if (leaf.index > 1) return { ...leaf, eax: 0, ebx: 0, ecx: leaf.index, edx: index };
        const isThread = leaf.index === 0;
        const level = isThread ? LEVEL_THREAD : LEVEL_CORE;
        return {
          ...leaf,
          eax: isThread ? 0 : idBits,
          ebx: isThread ? 1 : cpus,
          ecx: (level << 8) | leaf.index,
          edx: index,
        };
      }
      case AMD_TOPOLOGY:
        return { ...leaf, eax: index, ebx: index, ecx: 0 };
      default:
        return leaf;
    }
  });
}
