import type { X86CpuidEntry } from "@supermachine/hypervisor";
import { kvm_cpuid_entry2, kvm_cpuid2 } from "../abi-x86.js";
import { ioctlError, KvmError } from "../errors.js";
import { ioctl, tryIoctl } from "../ioctl.js";

const E2BIG = 7;
/** `KVM_MAX_CPUID_ENTRIES` of the kernel. */
export const MAX_CPUID_ENTRIES = 256;

/** Reads the `kvm_cpuid2` in `bytes`. */
export function decodeCpuid(bytes: Uint8Array): X86CpuidEntry[] {
  const { nent } = kvm_cpuid2.decode(bytes);
  const room = Math.floor((bytes.length - kvm_cpuid2.size) / kvm_cpuid_entry2.size);
  return Array.from({ length: Math.min(nent, room) }, (_, n) => {
    const offset = kvm_cpuid2.size + n * kvm_cpuid_entry2.size;
    const { padding: _padding, ...entry } = kvm_cpuid_entry2.decode(bytes, offset);
    return entry;
  });
}

/** Writes a `kvm_cpuid2`. */
export function encodeCpuid(entries: readonly X86CpuidEntry[]): Uint8Array {
  const bytes = Buffer.alloc(kvm_cpuid2.size + entries.length * kvm_cpuid_entry2.size);
  bytes.writeUInt32LE(entries.length, kvm_cpuid2.offsets.nent);
  for (const [n, entry] of entries.entries()) {
    const offset = kvm_cpuid2.size + n * kvm_cpuid_entry2.size;
    kvm_cpuid_entry2.encode({ ...entry, padding: new Uint8Array(12) }, bytes, offset);
  }
  return bytes;
}

/** KVM_GET_SUPPORTED_CPUID (on /dev/kvm) or KVM_GET_CPUID2 (on a vCPU). */
export function getCpuid(
  fd: number,
  request: "KVM_GET_SUPPORTED_CPUID" | "KVM_GET_CPUID2",
): X86CpuidEntry[] {
  for (let room = MAX_CPUID_ENTRIES; ; room *= 2) {
    const bytes = Buffer.alloc(kvm_cpuid2.size + room * kvm_cpuid_entry2.size);
    bytes.writeUInt32LE(room, kvm_cpuid2.offsets.nent);
    const result = tryIoctl(fd, request, bytes);
    if (result >= 0) return decodeCpuid(bytes);
    if (result !== -E2BIG || room > 16 * MAX_CPUID_ENTRIES) throw ioctlError(request, -result);
  }
}

/** KVM_SET_CPUID2 */
export function setCpuid(fd: number, entries: readonly X86CpuidEntry[]): void {
  if (entries.length > MAX_CPUID_ENTRIES) {
    const message = `${entries.length} CPUID leaves: KVM takes at most ${MAX_CPUID_ENTRIES}`;
    throw new KvmError("ERR_KVM_ARGUMENT", message);
  }
  ioctl(fd, "KVM_SET_CPUID2", encodeCpuid(entries));
}
