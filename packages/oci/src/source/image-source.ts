import type { Digest } from "../digest.js";
import type { ImageConfig } from "../manifest.js";
import type { Platform } from "../platform.js";

/** One layer of an image in a source. */
export interface ImageLayer {
  /** Digest of the layer as stored, or of its content when it is stored plain. */
  readonly digest: Digest;
  /** Digest of the uncompressed tar archive. */
  readonly diffId: Digest;
  /** Bytes as stored. */
  readonly size: number;
  /** What it is called in errors. */
  readonly what: string;
  /** Streams it, and throws at the end when it is not what `digest` says. */
  open(): AsyncIterable<Uint8Array>;
}

/** An image in a source, its manifest and config checked. */
export interface SourceImage {
  /**
   * Digest of its manifest. A docker archive has none; then it is that of the config, which names the
   * content of all layers as well.
   */
  readonly digest: Digest;
  readonly config: ImageConfig;
  /** Lowest first. */
  readonly layers: readonly ImageLayer[];
  /** Names the source has for it. */
  readonly names: readonly string[];
}

/** Which image of a source is wanted. */
export interface ImageSelector {
  /** A name or tag the source has for it; needed when there are several. */
  readonly name?: string;
  /** The platform, by default Linux on this CPU. */
  readonly platform?: Platform;
}

/** Images in a directory or archive. It holds nothing open. */
export interface ImageSource {
  readonly kind: "oci" | "docker-archive";
  /** Every name the source has for its images, sorted. */
  readonly names: readonly string[];
  /**
   * Finds an image and checks its manifest and config. Throws {@link OciError}
   * `ERR_OCI_CHOOSE_IMAGE`, `ERR_OCI_PLATFORM_MISSING`, `ERR_OCI_BAD_MANIFEST`,
   * `ERR_OCI_DIGEST_MISMATCH`, `ERR_OCI_SIZE_MISMATCH`, `ERR_OCI_UNSUPPORTED_MEDIA`.
   */
  image(selector?: ImageSelector): Promise<SourceImage>;
}
