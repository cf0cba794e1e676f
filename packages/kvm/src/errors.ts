import { HypervisorError } from "@supermachine/hypervisor";
import { errnoName } from "@supermachine-internal/libc";

/** The `code` of a {@link KvmError}. */
export type KvmErrorCode =
  /** /dev/kvm is missing, forbidden, or not what this driver needs. */
  | "ERR_KVM_DEVICE"
  /** An ioctl failed: see `ioctl` and `errno`. */
  | "ERR_KVM_IOCTL"
  /** The guest's MSR is not one that KVM lets the host read or write. */
  | "ERR_KVM_MSR"
  /** An argument is out of range. */
  | "ERR_KVM_ARGUMENT"
  /** The handle is closed. */
  | "ERR_KVM_CLOSED"
  /** A token is of another hypervisor, process or VM. */
  | "ERR_KVM_TOKEN"
  /** Saved state is damaged, or of another host: this one cannot take it. */
  | "ERR_KVM_STATE"
  /** The kick signal has a handler already. */
  | "ERR_KVM_SIGNAL_IN_USE";

/** What {@link KvmError} knows about the failed call. */
export interface KvmErrorOptions extends ErrorOptions {
  readonly ioctl?: string;
  readonly errno?: number;
}

/** Every error of this package. */
export class KvmError extends HypervisorError {
  override readonly name = "KvmError";
  declare readonly code: KvmErrorCode;
  /** The ioctl that failed, such as `KVM_CREATE_VM`. */
  readonly ioctl: string | undefined;
  /** The errno it failed with. */
  readonly errno: number | undefined;
  /** The errno's name, such as `EBUSY`. */
  readonly errnoName: string | undefined;

  constructor(code: KvmErrorCode, message: string, options: KvmErrorOptions = {}) {
    super(code, message, options);
    this.ioctl = options.ioctl;
    this.errno = options.errno;
    this.errnoName = options.errno === undefined ? undefined : errnoName(options.errno);
  }
}

/** What to do about the failures that happen in practice, by ioctl and errno. */
const remedies: Readonly<Record<string, string>> = {
  "KVM_CREATE_VM EBUSY":
    "another hypervisor, such as VirtualBox or VMware, holds the processor's virtualization: stop it",
  "KVM_CREATE_VM ENOMEM": "the host is out of memory",
  "KVM_SET_USER_MEMORY_REGION EEXIST": "the guest range overlaps another slot: unmap that first",
  "KVM_SET_USER_MEMORY_REGION EINVAL":
    "addresses and size must be multiples of 4096, the slot number within the limit, and only flags of a mapped slot can change",
  "KVM_CREATE_VCPU EEXIST": "a vCPU with this index exists",
  "KVM_CREATE_VCPU EINVAL": "the index is beyond the host's limit of vCPUs",
  "KVM_CREATE_IRQCHIP EEXIST": "the VM has an interrupt controller already",
  "KVM_CREATE_IRQCHIP EINVAL": "create the interrupt controller before the first vCPU",
  "KVM_IRQ_LINE ENXIO": "create the interrupt controller first",
  "KVM_IRQFD EINVAL": "create the interrupt controller first, and use a gsi that it has",
  "KVM_IRQFD EBUSY": "this eventfd is bound to an interrupt already",
  "KVM_IRQFD EBADF": "this is not an open eventfd",
  "KVM_IOEVENTFD EEXIST": "a doorbell is bound to this address and value already",
  "KVM_IOEVENTFD EBADF": "this is not an open eventfd",
  "KVM_IOEVENTFD ENOSPC": "the VM has no room for more doorbells",
  "KVM_GET_LAPIC EINVAL": "there is no local APIC without an interrupt controller",
  "KVM_SET_LAPIC EINVAL": "there is no local APIC without an interrupt controller",
  "KVM_GET_IRQCHIP ENXIO": "create the interrupt controller first",
  "KVM_SET_IRQCHIP ENXIO": "create the interrupt controller first",
  "KVM_RUN ENOMEM": "the host is out of memory",
  "KVM_SET_CPUID2 EINVAL": "CPUID cannot change after the vCPU ran, or has too many leaves",
  "KVM_SET_TSC_KHZ EINVAL": "the host cannot scale the TSC to this frequency",
};

/** The error for an ioctl that returned -1 with `errno`. */
export function ioctlError(ioctl: string, errno: number): KvmError {
  const failure = `ioctl(${ioctl}): ${errnoName(errno)}`;
  const remedy = remedies[`${ioctl} ${errnoName(errno)}`];
  return new KvmError("ERR_KVM_IOCTL", remedy === undefined ? failure : `${failure}: ${remedy}`, {
    ioctl,
    errno,
  });
}
