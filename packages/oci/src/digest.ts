import { createHash } from "node:crypto";
import { OciError } from "./errors.js";

/** `algorithm:hex` as in the OCI image specification ("Digests"), of an algorithm that is known here. */
export type Digest = string;

const hexLength: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

/** True for a well-formed sha256 or sha512 digest. Safe to use as part of a file name after that. */
export function isDigest(text: string): text is Digest {
  const [algorithm = "", hex = "", ...rest] = text.split(":");
  return (
    Object.hasOwn(hexLength, algorithm) &&
    hex.length === hexLength[algorithm] &&
    /^[0-9a-f]+$/.test(hex) &&
    rest.length === 0
  );
}

/** The two parts of a digest. */
export function splitDigest(digest: Digest): { algorithm: string; hex: string } {
  const colon = digest.indexOf(":");
  return { algorithm: digest.slice(0, colon), hex: digest.slice(colon + 1) };
}

/** The sha256 digest of bytes in memory. */
export function sha256(bytes: Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** What a stream of bytes must turn out to be. */
export interface Expected {
  readonly digest: Digest;
  /** Bytes; not checked when absent. */
  readonly size?: number;
  /** What it is called in errors, such as `layer 2 of 5`. */
  readonly what: string;
}

/**
 * Passes a stream on and throws {@link OciError} `ERR_OCI_SIZE_MISMATCH` or `ERR_OCI_DIGEST_MISMATCH`
 * at its end, or as soon as it is too long. Only a stream read to its end has been checked.
 */
export async function* verified(
  chunks: AsyncIterable<Uint8Array>,
  { digest, size, what }: Expected,
): AsyncGenerator<Uint8Array> {
  const hash = createHash(splitDigest(digest).algorithm);
  let length = 0;
  const wrongSize = (found: string) =>
    new OciError(
      "ERR_OCI_SIZE_MISMATCH",
      `${what} (${digest}) has ${found} bytes instead of ${size}; the image is damaged, get it again`,
    );
  for await (const chunk of chunks) {
    length += chunk.length;
    if (size !== undefined && length > size) throw wrongSize(`at least ${length}`);
    hash.update(chunk);
    yield chunk;
  }
  if (size !== undefined && length !== size) throw wrongSize(`${length}`);
  const found = `${splitDigest(digest).algorithm}:${hash.digest("hex")}`;
  if (found !== digest) {
    throw new OciError(
      "ERR_OCI_DIGEST_MISMATCH",
      `${what} should have the digest ${digest} but has ${found}; the image is damaged, get it again`,
    );
  }
}
