/**
 * What cannot be served, or was asked for wrongly. `code` is stable:
 *
 * - `ERR_FSD_OPTION`: an option that is unknown, contradicts another, or has a value out of range
 * - `ERR_FSD_SHARE`: a directory that cannot be shared
 * - `ERR_FSD_SOCKET`: a socket that cannot be listened on
 * - `ERR_FSD_SOCKET_IN_USE`: another process serves that socket
 * - `ERR_FSD_SANDBOX`: an isolation that this system, or this user, cannot have
 * - `ERR_FSD_DAEMON`: the daemon's process did not start, or ended unasked
 * - `ERR_FSD_PLATFORM`: not Linux
 */
export class FsdError extends Error {
  override readonly name = "FsdError";
  readonly code: FsdErrorCode;

  constructor(code: FsdErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export type FsdErrorCode =
  | "ERR_FSD_OPTION"
  | "ERR_FSD_SHARE"
  | "ERR_FSD_SOCKET"
  | "ERR_FSD_SOCKET_IN_USE"
  | "ERR_FSD_SANDBOX"
  | "ERR_FSD_DAEMON"
  | "ERR_FSD_PLATFORM";
