/** Stable codes of {@link QemuError}. */
export type QemuErrorCode =
  /** There is no `qemu-system-x86_64` to be found. */
  | "ERR_QEMU_MISSING"
  /** It is older than the oldest version that has what is used. */
  | "ERR_QEMU_TOO_OLD"
  /** This is not Linux, which the sockets and the shared memory of the machine need. */
  | "ERR_QEMU_PLATFORM"
  /** It was found but could not be started. */
  | "ERR_QEMU_START"
  /** The machine has ended. */
  | "ERR_QEMU_ENDED"
  /** It does not do what it is told to, or does not answer. */
  | "ERR_QEMU_COMMAND"
  /** An option is out of its range, or a file it names cannot be read. */
  | "ERR_QEMU_OPTION";

/** A machine that cannot be started: what failed, on what, and what to do. */
export class QemuError extends Error {
  override readonly name = "QemuError";
  readonly code: QemuErrorCode;

  constructor(code: QemuErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
