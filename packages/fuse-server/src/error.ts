import { type Errno, errnoName } from "@supermachine/fuse-protocol";

/** Base class of the errors this package throws. `code` is stable. */
export class FuseServerError extends Error {
  override readonly name: string = "FuseServerError";
  /** `ERR_FUSE_...`, or the symbolic errno of a {@link FuseError}. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * A file system operation failed with a Linux errno. A backend may throw it where returning `-errno`
 * is inconvenient (it costs microseconds, returning costs nothing); the client throws it.
 */
export class FuseError extends FuseServerError {
  override readonly name = "FuseError";
  /** Positive Linux errno. */
  readonly errno: number;

  constructor(errno: Errno | number, message?: string, options?: ErrorOptions) {
    super(errnoName(errno), message ?? errnoName(errno), options);
    this.errno = Math.abs(errno);
  }
}
