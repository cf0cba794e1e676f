import {
  kvm_clock_data,
  kvm_dirty_log,
  kvm_ioeventfd,
  kvm_irq_level,
  kvm_irqchip,
  kvm_irqfd,
  kvm_mp_state,
  kvm_pit_config,
  kvm_userspace_memory_region,
} from "./abi.js";
import {
  kvm_cpuid2,
  kvm_debugregs,
  kvm_fpu,
  kvm_lapic_state,
  kvm_msr_list,
  kvm_msrs,
  kvm_nested_state,
  kvm_pit_state2,
  kvm_regs,
  kvm_sregs,
  kvm_vcpu_events,
  kvm_xcrs,
  kvm_xsave,
} from "./abi-x86.js";

/** The layout of ioctl request numbers: `<asm-generic/ioctl.h>`, "direction, size, type, number". */
const KVMIO = 0xae;
const WRITE = 1;
const READ = 2;

interface Sized {
  readonly size: number;
}

function request(direction: number, number: number, size: number): number {
  return ((direction << 30) | (size << 16) | (KVMIO << 8) | number) >>> 0;
}
const io = (number: number) => request(0, number, 0);
const ior = (number: number, argument: Sized) => request(READ, number, argument.size);
const iow = (number: number, argument: Sized) => request(WRITE, number, argument.size);
const iowr = (number: number, argument: Sized) => request(READ | WRITE, number, argument.size);

/** Request numbers of `<linux/kvm.h>`, computed as the header does from direction and struct size. */
export const ioctls = {
  // On /dev/kvm
  KVM_GET_API_VERSION: io(0x00),
  KVM_CREATE_VM: io(0x01),
  KVM_GET_MSR_INDEX_LIST: iowr(0x02, kvm_msr_list),
  KVM_CHECK_EXTENSION: io(0x03),
  KVM_GET_VCPU_MMAP_SIZE: io(0x04),
  KVM_GET_SUPPORTED_CPUID: iowr(0x05, kvm_cpuid2),
  // On a VM
  KVM_CREATE_VCPU: io(0x41),
  KVM_GET_DIRTY_LOG: iow(0x42, kvm_dirty_log),
  KVM_SET_USER_MEMORY_REGION: iow(0x46, kvm_userspace_memory_region),
  KVM_SET_TSS_ADDR: io(0x47),
  KVM_SET_IDENTITY_MAP_ADDR: iow(0x48, { size: 8 }),
  KVM_CREATE_IRQCHIP: io(0x60),
  KVM_IRQ_LINE: iow(0x61, kvm_irq_level),
  KVM_GET_IRQCHIP: iowr(0x62, kvm_irqchip),
  // The header says _IOR although the kernel reads the argument.
  KVM_SET_IRQCHIP: ior(0x63, kvm_irqchip),
  KVM_IRQFD: iow(0x76, kvm_irqfd),
  KVM_CREATE_PIT2: iow(0x77, kvm_pit_config),
  KVM_IOEVENTFD: iow(0x79, kvm_ioeventfd),
  KVM_SET_CLOCK: iow(0x7b, kvm_clock_data),
  KVM_GET_CLOCK: ior(0x7c, kvm_clock_data),
  KVM_GET_PIT2: ior(0x9f, kvm_pit_state2),
  KVM_SET_PIT2: iow(0xa0, kvm_pit_state2),
  // On a vCPU
  KVM_RUN: io(0x80),
  KVM_GET_REGS: ior(0x81, kvm_regs),
  KVM_SET_REGS: iow(0x82, kvm_regs),
  KVM_GET_SREGS: ior(0x83, kvm_sregs),
  KVM_SET_SREGS: iow(0x84, kvm_sregs),
  KVM_GET_MSRS: iowr(0x88, kvm_msrs),
  KVM_SET_MSRS: iow(0x89, kvm_msrs),
  KVM_GET_FPU: ior(0x8c, kvm_fpu),
  KVM_SET_FPU: iow(0x8d, kvm_fpu),
  KVM_GET_LAPIC: ior(0x8e, kvm_lapic_state),
  KVM_SET_LAPIC: iow(0x8f, kvm_lapic_state),
  KVM_SET_CPUID2: iow(0x90, kvm_cpuid2),
  KVM_GET_CPUID2: iowr(0x91, kvm_cpuid2),
  KVM_GET_MP_STATE: ior(0x98, kvm_mp_state),
  KVM_SET_MP_STATE: iow(0x99, kvm_mp_state),
  KVM_GET_VCPU_EVENTS: ior(0x9f, kvm_vcpu_events),
  KVM_SET_VCPU_EVENTS: iow(0xa0, kvm_vcpu_events),
  KVM_GET_DEBUGREGS: ior(0xa1, kvm_debugregs),
  KVM_SET_DEBUGREGS: iow(0xa2, kvm_debugregs),
  KVM_SET_TSC_KHZ: io(0xa2),
  KVM_GET_TSC_KHZ: io(0xa3),
  KVM_GET_XSAVE: ior(0xa4, kvm_xsave),
  KVM_SET_XSAVE: iow(0xa5, kvm_xsave),
  KVM_GET_XCRS: ior(0xa6, kvm_xcrs),
  KVM_SET_XCRS: iow(0xa7, kvm_xcrs),
  KVM_KVMCLOCK_CTRL: io(0xad),
  KVM_GET_NESTED_STATE: iowr(0xbe, kvm_nested_state),
  KVM_GET_XSAVE2: ior(0xcf, kvm_xsave),
} as const;

/** An ioctl that this driver uses. */
export type IoctlName = keyof typeof ioctls;

/** Numbers for `KVM_CHECK_EXTENSION`. */
export const capabilities = {
  KVM_CAP_IRQCHIP: 0,
  KVM_CAP_USER_MEMORY: 3,
  KVM_CAP_SET_TSS_ADDR: 4,
  KVM_CAP_EXT_CPUID: 7,
  KVM_CAP_IRQFD: 32,
  KVM_CAP_PIT2: 33,
  KVM_CAP_IOEVENTFD: 36,
  KVM_CAP_SET_IDENTITY_MAP_ADDR: 37,
  KVM_CAP_XCRS: 56,
  KVM_CAP_TSC_CONTROL: 60,
  KVM_CAP_MAX_VCPUS: 66,
  KVM_CAP_READONLY_MEM: 81,
  KVM_CAP_IMMEDIATE_EXIT: 136,
  KVM_CAP_NESTED_STATE: 157,
  KVM_CAP_XSAVE2: 208,
} as const;

/** A capability that this driver asks for. */
export type CapabilityName = keyof typeof capabilities;

/** Constants of `<linux/kvm.h>` and `<asm/kvm.h>` other than requests and capabilities. */
export const constants = {
  KVM_API_VERSION: 12,
  KVM_MEM_LOG_DIRTY_PAGES: 1,
  KVM_MEM_READONLY: 2,
  KVM_IRQFD_FLAG_DEASSIGN: 1,
  KVM_IOEVENTFD_FLAG_DATAMATCH: 1,
  KVM_IOEVENTFD_FLAG_DEASSIGN: 4,
  KVM_PIT_SPEAKER_DUMMY: 1,
  KVM_STATE_NESTED_FORMAT_SVM: 1,
  KVM_STATE_NESTED_GUEST_MODE: 1,
  KVM_STATE_NESTED_GIF_SET: 0x100,
  KVM_IRQCHIP_PIC_MASTER: 0,
  KVM_IRQCHIP_PIC_SLAVE: 1,
  KVM_IRQCHIP_IOAPIC: 2,
  KVM_EXIT_UNKNOWN: 0,
  KVM_EXIT_EXCEPTION: 1,
  KVM_EXIT_IO: 2,
  KVM_EXIT_HYPERCALL: 3,
  KVM_EXIT_DEBUG: 4,
  KVM_EXIT_HLT: 5,
  KVM_EXIT_MMIO: 6,
  KVM_EXIT_IRQ_WINDOW_OPEN: 7,
  KVM_EXIT_SHUTDOWN: 8,
  KVM_EXIT_FAIL_ENTRY: 9,
  KVM_EXIT_INTR: 10,
  KVM_EXIT_INTERNAL_ERROR: 17,
  KVM_EXIT_SYSTEM_EVENT: 24,
} as const;
