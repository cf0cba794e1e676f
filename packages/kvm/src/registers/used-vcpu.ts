import { kvm_mp_state } from "../abi.js";
import { kvm_nested_state, kvm_vcpu_events } from "../abi-x86.js";
import { KvmError } from "../errors.js";
import { ioctl, tryIoctl } from "../ioctl.js";
import { constants } from "../numbers.js";
import { setAllMsrs } from "./msr.js";
import type { VcpuStateHost } from "./vcpu-state.js";

const E2BIG = 7;
const MSR_KVM_ASYNC_PF_EN = 0x4b56_4d02;

/**
 * Prepares a vCPU that has run to be given another state: what KVM holds for its guest beside the state must
 * not reach the next.
 *
 * @throws {@link KvmError} `ERR_KVM_STATE` when the guest runs guests of its own.
 */
export function settleVcpu(fd: number, host: VcpuStateHost): void {
  if (host.hasNestedState) refuseNested(fd);
  // Both take what is on its way to the vCPU, such as INIT, into the state, which is replaced next.
  if (host.hasLapic) ioctl(fd, "KVM_GET_MP_STATE", Buffer.alloc(kvm_mp_state.size));
  ioctl(fd, "KVM_GET_VCPU_EVENTS", Buffer.alloc(kvm_vcpu_events.size));
  // Forgets the page faults of which the guest has been told that the host is at them.
  if (host.msrIndices.includes(MSR_KVM_ASYNC_PF_EN)) {
    setAllMsrs(fd, [{ index: MSR_KVM_ASYNC_PF_EN, value: 0n }]);
  }
}

function refuseNested(fd: number): void {
  const header = Buffer.alloc(kvm_nested_state.size);
  header.writeUInt32LE(header.length, kvm_nested_state.offsets.size);
  const result = tryIoctl(fd, "KVM_GET_NESTED_STATE", header);
  const { flags, format } = kvm_nested_state.decode(header);
  // Without the global interrupt flag an AMD processor is about to enter a guest, or has just left it.
  const holdsBack =
    format === constants.KVM_STATE_NESTED_FORMAT_SVM &&
    (flags & constants.KVM_STATE_NESTED_GIF_SET) === 0;
  const isNested = (flags & constants.KVM_STATE_NESTED_GUEST_MODE) !== 0 || holdsBack;
  // The whole state needs more room than its header: there is a guest in it.
  if (result !== -E2BIG && !(result >= 0 && isNested)) return;
  throw new KvmError(
    "ERR_KVM_STATE",
    "the guest runs guests of its own, which have no saved state",
  );
}
