/** Stable codes of {@link GuestError}, for programs to switch on. */
export type GuestErrorCode =
  | "ERR_GUEST_ASSET_MISSING"
  | "ERR_GUEST_ASSET_BUILD"
  | "ERR_GUEST_PLATFORM"
  | "ERR_INITRAMFS_ENTRY"
  | "ERR_COMMAND_LINE"
  | "ERR_AGENT_TIMEOUT"
  | "ERR_AGENT_GONE"
  | "ERR_AGENT_BOOT"
  | "ERR_AGENT_PROTOCOL"
  | "ERR_AGENT_VERSION"
  | "ERR_AGENT_OPTION"
  | "ERR_AGENT_FREEZE"
  | "ERR_EXEC_INVALID"
  | "ERR_EXEC_ABORTED"
  | "ERR_EXEC_NOT_FOUND"
  | "ERR_EXEC_NOT_EXECUTABLE"
  | "ERR_EXEC_UNKNOWN_USER"
  | "ERR_EXEC_CWD"
  | "ERR_EXEC_RESOURCES"
  | "ERR_EXEC_FILE"
  | "ERR_EXEC_OUTPUT_LIMIT";

/** Base of every error this package throws. Match on `code`: two copies of the package may be loaded. */
export class GuestError extends Error {
  override name = "GuestError";
  readonly code: GuestErrorCode;

  constructor(code: GuestErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** A kernel, agent or initramfs that is not there or could not be built; the message says what to run. */
export class GuestAssetError extends GuestError {
  override name = "GuestAssetError";
}

/** The agent in the guest could not be reached, broke the protocol, or could not do what was asked. */
export class AgentError extends GuestError {
  override name = "AgentError";
  /** The guest's errno (Linux numbers) where one is known. */
  readonly errno: number | undefined;

  constructor(
    code: GuestErrorCode,
    message: string,
    options?: { cause?: unknown; errno?: number },
  ) {
    super(code, message, options);
    this.errno = options?.errno;
  }
}
