/** Stable codes of {@link SupermachineError}; errors of the layers below keep their own codes. */
export type SupermachineErrorCode =
  /** An option is missing, malformed or out of range. */
  | "ERR_OPTION"
  /** A directory to share does not exist or cannot be opened. */
  | "ERR_MOUNT"
  /** A mount asks for DAX, which what runs the guest does not have. */
  | "ERR_DAX_UNAVAILABLE"
  /** No hypervisor, or not the one asked for, can run a guest here. */
  | "ERR_HYPERVISOR_UNAVAILABLE"
  /** The machine ended before its guest was ready. */
  | "ERR_VM_BOOT_FAILED"
  /** The guest was not ready within the time given. */
  | "ERR_VM_BOOT_TIMEOUT"
  /** The machine has ended. */
  | "ERR_VM_STOPPED"
  /** The process or thread that runs the machine could not be started or died. */
  | "ERR_VM_PROCESS"
  /** The machine's process did not answer within its limit. */
  | "ERR_VM_TIMEOUT"
  /** The machine's process speaks another version of the control protocol. */
  | "ERR_VM_PROTOCOL"
  /** A running machine has the name already. */
  | "ERR_VM_NAME_TAKEN"
  /** No running machine has the name or id. */
  | "ERR_VM_NOT_FOUND"
  /** What runs the guest cannot do this. */
  | "ERR_VM_UNSUPPORTED"
  /** What runs the guest cannot save or restore it. */
  | "ERR_SNAPSHOT_UNSUPPORTED"
  /** This is no snapshot, or one of another architecture or hypervisor. */
  | "ERR_SNAPSHOT_FORMAT"
  /** The snapshot's format is of another release. */
  | "ERR_SNAPSHOT_VERSION"
  /** The snapshot is damaged, cut short, or put together from parts of several. */
  | "ERR_SNAPSHOT_CORRUPT"
  /** The snapshot was made on a processor that this host does not have. */
  | "ERR_SNAPSHOT_CPU"
  /** The snapshot's guest has another kernel or agent than this release. */
  | "ERR_SNAPSHOT_KERNEL"
  /** The snapshot's image is not in the store, or is another by now. */
  | "ERR_SNAPSHOT_IMAGE"
  /** The snapshot's machine has other mounts or devices than the one that is to go on from it. */
  | "ERR_SNAPSHOT_DEVICES"
  /** The machine did not start from a snapshot, so that there is none to go back to. */
  | "ERR_SNAPSHOT_NONE"
  /** The snapshot cannot be made on this base. */
  | "ERR_SNAPSHOT_BASE"
  /** The host has no room for the snapshot. */
  | "ERR_SNAPSHOT_SPACE"
  /** The snapshot cannot be written, or exists. */
  | "ERR_SNAPSHOT_WRITE"
  /** The store has no snapshot of the name. */
  | "ERR_SNAPSHOT_NOT_FOUND"
  /** Input was written to a command that takes no more. */
  | "ERR_EXEC_INPUT_CLOSED"
  /** What is at the destination of a copy does not go with what is copied. */
  | "ERR_COPY_DESTINATION"
  /** A file of the host cannot be read or written, or changed while it was copied. */
  | "ERR_COPY_HOST"
  /** What was to be unpacked is no tar archive, or has a name or link that leads elsewhere. */
  | "ERR_COPY_ARCHIVE"
  /** No machine of a pool was free in time. */
  | "ERR_POOL_TIMEOUT"
  /** The pool is closed. */
  | "ERR_POOL_CLOSED"
  /** The machine was given back to its pool. */
  | "ERR_POOL_RELEASED"
  /** A command printed more than the caller allowed to be collected. */
  | "ERR_EXEC_OUTPUT_LIMIT";

/** What failed, on what, and what to do about it. */
export class SupermachineError extends Error {
  override readonly name = "SupermachineError";
  readonly code: SupermachineErrorCode | (string & {});

  constructor(
    code: SupermachineErrorCode | (string & {}),
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.code = code;
  }
}

/** An error as it travels between processes. */
export interface PlainError {
  readonly code: string;
  readonly message: string;
}

export function toPlainError(error: unknown): PlainError {
  if (!(error instanceof Error)) return { code: "ERR_VM_PROCESS", message: String(error) };
  const code = "code" in error && typeof error.code === "string" ? error.code : "ERR_VM_PROCESS";
  return { code, message: error.message };
}

export function fromPlainError({ code, message }: PlainError): SupermachineError {
  return new SupermachineError(code, message);
}
