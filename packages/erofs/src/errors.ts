/** Why an EROFS operation failed; stable across versions, so programs may switch on it. */
export type ErofsErrorCode =
  /** The tree handed to the writer cannot be stored: a bad name, an attribute out of range, a cycle. */
  | "ERR_EROFS_INVALID_TREE"
  /** File content did not match what the tree announced, or came for a file that is not in the tree. */
  | "ERR_EROFS_CONTENT"
  /** A writer method was called out of order. */
  | "ERR_EROFS_WRITER_STATE"
  /** The image breaks a rule of the format: it is truncated, damaged, or not EROFS at all. */
  | "ERR_EROFS_CORRUPT"
  /** The image is well-formed as far as it was read, but uses a feature this package does not read. */
  | "ERR_EROFS_UNSUPPORTED"
  /** A directory was expected where something else is, or a symlink, or a regular file. */
  | "ERR_EROFS_WRONG_TYPE";

const brand = Symbol.for("supermachine.erofs.ErofsError");

/** The one error class of this package; `code` says why, the message what and where. */
export class ErofsError extends Error {
  readonly code: ErofsErrorCode;

  constructor(code: ErofsErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ErofsError";
    this.code = code;
    Object.defineProperty(this, brand, { value: true });
  }

  /** True for instances of every loaded copy of this package (ESM and CJS may both be loaded). */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && brand in value;
  }
}
