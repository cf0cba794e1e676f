import type { X86Msr } from "@supermachine/hypervisor";
import { kvm_msr_entry, kvm_msr_list, kvm_msrs } from "../abi-x86.js";
import { ioctlError, KvmError } from "../errors.js";
import { ioctl, tryIoctl } from "../ioctl.js";

/** `MAX_IO_MSRS` of arch/x86/kvm/x86.c: more in one call is E2BIG. */
const BATCH = 256;

function encodeMsrs(msrs: readonly X86Msr[]): Buffer {
  const bytes = Buffer.alloc(kvm_msrs.size + msrs.length * kvm_msr_entry.size);
  bytes.writeUInt32LE(msrs.length, kvm_msrs.offsets.nmsrs);
  for (const [n, { index, value }] of msrs.entries()) {
    const offset = kvm_msrs.size + n * kvm_msr_entry.size;
    kvm_msr_entry.encode({ index, reserved: 0, data: value }, bytes, offset);
  }
  return bytes;
}

/** KVM stops at the first MSR it refuses and returns how many it did. */
function transfer(fd: number, request: "KVM_GET_MSRS" | "KVM_SET_MSRS", batch: readonly X86Msr[]) {
  const bytes = encodeMsrs(batch);
  const done = ioctl(fd, request, bytes);
  const refused = batch[done];
  if (refused !== undefined) {
    const verb = request === "KVM_GET_MSRS" ? "read" : "written";
    throw new KvmError(
      "ERR_KVM_MSR",
      `MSR 0x${refused.index.toString(16)} cannot be ${verb}: KVM does not let the host, or not with this value or CPUID`,
      { ioctl: request },
    );
  }
  return bytes;
}

/** KVM_GET_MSRS */
export function getMsrs(fd: number, indices: readonly number[]): X86Msr[] {
  const msrs: X86Msr[] = [];
  for (let start = 0; start < indices.length; start += BATCH) {
    const batch = indices.slice(start, start + BATCH).map((index) => ({ index, value: 0n }));
    const bytes = transfer(fd, "KVM_GET_MSRS", batch);
    for (let n = 0; n < batch.length; n++) {
      const { index, data } = kvm_msr_entry.decode(bytes, kvm_msrs.size + n * kvm_msr_entry.size);
      msrs.push({ index, value: data });
    }
  }
  return msrs;
}

/** KVM_SET_MSRS */
export function setMsrs(fd: number, msrs: readonly X86Msr[]): void {
  for (let start = 0; start < msrs.length; start += BATCH) {
    transfer(fd, "KVM_SET_MSRS", msrs.slice(start, start + BATCH));
  }
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
