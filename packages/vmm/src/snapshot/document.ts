import { createHash } from "node:crypto";
import { defineStruct } from "@supermachine-internal/struct";
import { VmmError } from "../errors.js";

/*
 * The file `machine` of a snapshot: this header, a JSON text, and blobs that the text refers to by number.
 * docs/snapshot-format.md describes all of it.
 */

/** Changes when an older reader would misread a newer file. */
export const SNAPSHOT_VERSION = 1;

/** As in PNG: a transfer that mangles line ends shows at once. */
const MAGIC = Buffer.from("SMSNAP\r\n", "latin1");

export const documentHeader = defineStruct("snapshot_header", 64, {
  magic: { bytes: 8 },
  version: "u32",
  json_length: "u32",
  /** Bytes of the whole file. */
  length: "u64",
  /** The number of blobs; their lengths, u32 each, follow the JSON text. */
  blob_count: "u32",
  reserved: "u32",
  /** SHA-256 of the file without this field. */
  sha256: { bytes: 32 },
});

const CHECKSUM = documentHeader.offsets.sha256;
/** Far above any real document; what foreign bytes may make this process read. */
export const MAX_DOCUMENT = 256 << 20;

/** Where a blob is, in the JSON text. */
export interface BlobReference {
  readonly blob: number;
}

/** A checked document: its JSON text as a value, and what the references in it name. */
export interface SnapshotDocument {
  readonly content: unknown;
  readonly blobs: readonly Uint8Array[];
}

function corrupt(name: string, detail: string): VmmError {
  return new VmmError(
    "ERR_VMM_SNAPSHOT_CORRUPT",
    `the snapshot ${name} is damaged: ${detail}; make it anew`,
  );
}

function checksum(bytes: Uint8Array): Buffer {
  const hash = createHash("sha256").update(bytes.subarray(0, CHECKSUM));
  return hash.update(bytes.subarray(documentHeader.size)).digest();
}

/** Collects blobs while the content that refers to them is put together. */
export class DocumentWriter {
  readonly #blobs: Uint8Array[] = [];

  blob(bytes: Uint8Array): BlobReference {
    return { blob: this.#blobs.push(bytes) - 1 };
  }

  encode(content: unknown): Uint8Array {
    const json = Buffer.from(JSON.stringify(content));
    const lengths = Buffer.alloc(4 * this.#blobs.length);
    for (const [n, { length }] of this.#blobs.entries()) lengths.writeUInt32LE(length, 4 * n);
    const header = Buffer.alloc(documentHeader.size);
    const bytes = Buffer.concat([header, json, lengths, ...this.#blobs]);
    documentHeader.encode(
      {
        magic: MAGIC,
        version: SNAPSHOT_VERSION,
        json_length: json.length,
        length: BigInt(bytes.length),
        blob_count: this.#blobs.length,
        reserved: 0,
        sha256: new Uint8Array(32),
      },
      bytes,
    );
    bytes.set(checksum(bytes), CHECKSUM);
    return bytes;
  }
}

/**
 * Checks and takes apart the bytes of a document. `name` is the snapshot's, for messages.
 *
 * @throws VmmError `ERR_VMM_SNAPSHOT_FORMAT`, `ERR_VMM_SNAPSHOT_VERSION` or `ERR_VMM_SNAPSHOT_CORRUPT`.
 */
export function decodeDocument(name: string, bytes: Uint8Array): SnapshotDocument {
  if (bytes.length < MAGIC.length || MAGIC.compare(bytes, 0, MAGIC.length) !== 0) {
    throw new VmmError("ERR_VMM_SNAPSHOT_FORMAT", `${name} is not a snapshot of a machine`);
  }
  if (bytes.length < documentHeader.size) throw corrupt(name, "it ends within its header");
  const header = documentHeader.decode(bytes);
  const { version, json_length, blob_count } = header;
  if (version !== SNAPSHOT_VERSION) {
    throw new VmmError(
      "ERR_VMM_SNAPSHOT_VERSION",
      `the snapshot ${name} has format ${version}, and this release reads format ${SNAPSHOT_VERSION}: make it anew`,
    );
  }
  if (header.length !== BigInt(bytes.length)) {
    throw corrupt(name, `it has ${bytes.length} of ${header.length} bytes`);
  }
  if (!checksum(bytes).equals(header.sha256)) throw corrupt(name, "its checksum does not match");
  // The checksum shows damage, not malice: everything else is checked as well.
  const lengthsAt = documentHeader.size + json_length;
  let at = lengthsAt + 4 * blob_count;
  if (at > bytes.length) throw corrupt(name, "its parts exceed it");
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blobs = Array.from({ length: blob_count }, (_, n) => {
    const length = buffer.readUInt32LE(lengthsAt + 4 * n);
    at += length;
    return buffer.subarray(at - length, at);
  });
  if (at !== bytes.length) throw corrupt(name, "its parts do not add up to it");
  try {
    return { content: JSON.parse(buffer.toString("utf8", documentHeader.size, lengthsAt)), blobs };
  } catch {
    throw corrupt(name, "its text is no JSON");
  }
}
