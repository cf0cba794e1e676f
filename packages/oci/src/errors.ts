/** Why an operation on images failed; stable across versions, so programs may switch on it. */
export type OciErrorCode =
  /** Bytes do not have the digest they are known by. */
  | "ERR_OCI_DIGEST_MISMATCH"
  /** A blob is longer or shorter than its descriptor says. */
  | "ERR_OCI_SIZE_MISMATCH"
  /** A manifest, index, config or digest is malformed, or contradicts another. */
  | "ERR_OCI_BAD_MANIFEST"
  /** The image is not there for the wanted platform. */
  | "ERR_OCI_PLATFORM_MISSING"
  /** A layer is not a well-formed tar archive. */
  | "ERR_OCI_BAD_LAYER"
  /** A layer names a path that cannot be: one with `..`, below a file, or linked to nothing. */
  | "ERR_OCI_BAD_LAYER_PATH"
  /** A layer, blob or archive ends in the middle. */
  | "ERR_OCI_TRUNCATED"
  /** A media type, compression or kind of tar entry that is not supported. */
  | "ERR_OCI_UNSUPPORTED_MEDIA"
  /** An image is larger than the limits allow. */
  | "ERR_OCI_TOO_LARGE"
  /** The path is not an image in a known form, or lacks a part of one. */
  | "ERR_OCI_BAD_SOURCE"
  /** The path holds several images and none, or one it does not have, was chosen. */
  | "ERR_OCI_CHOOSE_IMAGE"
  /** The store has no image of the name. */
  | "ERR_OCI_IMAGE_NOT_FOUND"
  /** A name does not follow the grammar of references. */
  | "ERR_OCI_BAD_REFERENCE"
  /** The disk of the store is full. */
  | "ERR_OCI_NO_SPACE"
  /** The store could not be read or written. */
  | "ERR_OCI_STORE";

const brand = Symbol.for("supermachine.oci.OciError");

/** The one error class of this package; `code` says why, the message what, where and what to do. */
export class OciError extends Error {
  readonly code: OciErrorCode;

  constructor(code: OciErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "OciError";
    this.code = code;
    Object.defineProperty(this, brand, { value: true });
  }

  /** True for instances of every loaded copy of this package (ESM and CJS may both be loaded). */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && brand in value;
  }
}
