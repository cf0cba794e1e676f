/** Stable codes of {@link VmmError}. */
export type VmmErrorCode =
  /** The kernel file is not a 64-bit bzImage of boot protocol 2.12 or later. */
  | "ERR_VMM_NOT_A_KERNEL"
  /** The kernel, the initial RAM disk or the requested machine does not fit the guest's memory. */
  | "ERR_VMM_MEMORY_TOO_SMALL"
  /** The kernel command line is longer than the kernel or the memory map allows. */
  | "ERR_VMM_COMMAND_LINE"
  /** The machine has ended. */
  | "ERR_VMM_ENDED"
  /** An option is out of its range. */
  | "ERR_VMM_OPTION"
  /** The machine did not come to rest within its limit: a vCPU, or requests of a device. It runs on. */
  | "ERR_VMM_BUSY"
  /** This is no snapshot, or one of another architecture or hypervisor. */
  | "ERR_VMM_SNAPSHOT_FORMAT"
  /** The snapshot's format is of another release. */
  | "ERR_VMM_SNAPSHOT_VERSION"
  /** The snapshot is damaged, cut short, or put together from parts of several. */
  | "ERR_VMM_SNAPSHOT_CORRUPT"
  /** The snapshot was made on a processor that this host does not have. */
  | "ERR_VMM_SNAPSHOT_CPU"
  /** The snapshot is of a machine with other devices. */
  | "ERR_VMM_SNAPSHOT_DEVICES"
  /** The machine did not go on from a snapshot, so that there is none to go back to. */
  | "ERR_VMM_SNAPSHOT_NONE"
  /** The snapshot cannot be made on this base. */
  | "ERR_VMM_SNAPSHOT_BASE"
  /** The host has no room for the snapshot. */
  | "ERR_VMM_SNAPSHOT_SPACE"
  /** The snapshot cannot be written; see `cause`. */
  | "ERR_VMM_SNAPSHOT_WRITE"
  /** The hypervisor refused a step of the machine's construction; see `cause`. */
  | "ERR_VMM_HYPERVISOR";

/** A machine that cannot be built or run: what failed, on what, and what to do. */
export class VmmError extends Error {
  override readonly name = "VmmError";
  readonly code: VmmErrorCode;

  constructor(code: VmmErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
