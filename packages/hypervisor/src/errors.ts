/**
 * Base of every error that the seam and its drivers throw. Programs switch on `code`
 * (`ERR_HYPERVISOR_*` here, `ERR_KVM_*` and so on in drivers), people read `message`.
 */
export class HypervisorError extends Error {
  override readonly name: string = "HypervisorError";
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
