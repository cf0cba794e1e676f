/** A mount that could not be made, served or taken away. `code` is stable. */
export class FuseMountError extends Error {
  override readonly name = "FuseMountError";
  /** `ERR_FUSE_MOUNT_...`. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
