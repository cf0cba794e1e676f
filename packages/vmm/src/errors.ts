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
