import type { X86Msr } from "@supermachine/hypervisor";
import { kvm_msr_entry, kvm_msr_list, kvm_msrs } from "../abi-x86.js";
import { ioctlError, KvmError } from "../errors.js";
import { ioctl, tryIoctl } from "../ioctl.js";

/** `MAX_IO_MSRS` of arch/x86/kvm/x86.c: more in one call is E2BIG. */
const BATCH = 256;

/** Writes a `kvm_msrs`. */
export function encodeMsrs(msrs: readonly X86Msr[]): Buffer {
  const bytes = Buffer.alloc(kvm_msrs.size + msrs.length * kvm_msr_entry.size);
  bytes.writeUInt32LE(msrs.length, kvm_msrs.offsets.nmsrs);
  for (const [n, { index, value }] of msrs.entries()) {
    const offset = kvm_msrs.size + n * kvm_msr_entry.size;
    kvm_msr_entry.encode({ index, reserved: 0, data: value }, bytes, offset);
  }
  return bytes;
}

/** Reads a `kvm_msrs`, all of which must be there. */
export function decodeMsrs(bytes: Uint8Array): X86Msr[] {
  const { nmsrs } = kvm_msrs.decode(bytes);
  return Array.from({ length: nmsrs }, (_, n) => {
    const { index, data } = kvm_msr_entry.decode(bytes, kvm_msrs.size + n * kvm_msr_entry.size);
    return { index, value: data };
  });
}

function refusal(verb: "read" | "written", index: number): KvmError {
  const register = `MSR 0x${index.toString(16)}`;
  const message = `${register} cannot be ${verb}: KVM does not let the host, or not with this value or CPUID`;
  const ioctl = verb === "read" ? "KVM_GET_MSRS" : "KVM_SET_MSRS";
  return new KvmError("ERR_KVM_MSR", message, { ioctl });
}

/** KVM_GET_MSRS: up to the first one that KVM refuses. */
function getMsrsUntilRefused(fd: number, indices: readonly number[]): X86Msr[] {
  const msrs: X86Msr[] = [];
  for (let start = 0; start < indices.length; start += BATCH) {
    const batch = indices.slice(start, start + BATCH);
    const bytes = encodeMsrs(batch.map((index) => ({ index, value: 0n })));
    const done = ioctl(fd, "KVM_GET_MSRS", bytes);
    msrs.push(...decodeMsrs(bytes).slice(0, done));
    if (done < batch.length) break;
  }
  return msrs;
}

/** KVM_GET_MSRS */
export function getMsrs(fd: number, indices: readonly number[]): X86Msr[] {
  const msrs = getMsrsUntilRefused(fd, indices);
  const refused = indices[msrs.length];
  if (refused !== undefined) throw refusal("read", refused);
  return msrs;
}

/** Those of the MSRs that this vCPU has: which of KVM's list those are depends on its CPUID. */
export function readableMsrs(fd: number, indices: readonly number[]): X86Msr[] {
  const msrs: X86Msr[] = [];
  for (let start = 0; start < indices.length; ) {
    const found = getMsrsUntilRefused(fd, indices.slice(start));
    msrs.push(...found);
    start += found.length + 1;
  }
  return msrs;
}

/** KVM_SET_MSRS; answers how many it set before one that KVM refuses, or all. */
export function setMsrs(fd: number, msrs: readonly X86Msr[]): number {
  for (let start = 0; start < msrs.length; start += BATCH) {
    const batch = msrs.slice(start, start + BATCH);
    const done = ioctl(fd, "KVM_SET_MSRS", encodeMsrs(batch));
    if (done < batch.length) return start + done;
  }
  return msrs.length;
}

/** KVM_SET_MSRS. @throws {@link KvmError} naming the first one that KVM refuses. */
export function setAllMsrs(fd: number, msrs: readonly X86Msr[]): void {
  const refused = msrs[setMsrs(fd, msrs)];
  if (refused !== undefined) throw refusal("written", refused.index);
}

const E2BIG = 7;

/** KVM_GET_MSR_INDEX_LIST, on /dev/kvm: asked with no room, the kernel tells the number first. */
export function getMsrIndexList(fd: number): number[] {
  const head = Buffer.alloc(kvm_msr_list.size);
  const result = tryIoctl(fd, "KVM_GET_MSR_INDEX_LIST", head);
  if (result < 0 && result !== -E2BIG) throw ioctlError("KVM_GET_MSR_INDEX_LIST", -result);
  const { nmsrs } = kvm_msr_list.decode(head);
  const list = Buffer.alloc(kvm_msr_list.size + 4 * nmsrs);
  list.writeUInt32LE(nmsrs, kvm_msr_list.offsets.nmsrs);
  ioctl(fd, "KVM_GET_MSR_INDEX_LIST", list);
  return Array.from({ length: nmsrs }, (_, n) => list.readUInt32LE(kvm_msr_list.size + 4 * n));
}
