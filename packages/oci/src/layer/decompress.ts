import { pipeline, Readable, type Transform } from "node:stream";
import * as zlib from "node:zlib";
import { Decompress } from "fzstd";
import { OciError } from "../errors.js";

function startsWith(bytes: Uint8Array, ...magic: number[]): boolean {
  return magic.every((byte, index) => bytes[index] === byte);
}
const isGzip = (start: Uint8Array) => startsWith(start, 0x1f, 0x8b);
/** A zstd frame, or a skippable frame, which zstd:chunked layers may begin with (RFC 8878, 3.1). */
const isZstd = (start: Uint8Array) =>
  startsWith(start, 0x28, 0xb5, 0x2f, 0xfd) ||
  ((start[0] ?? 0) >> 4 === 5 && startsWith(start.subarray(1), 0x2a, 0x4d, 0x18));
const isKnownOther = (start: Uint8Array) =>
  startsWith(start, 0x42, 0x5a, 0x68) || startsWith(start, 0xfd, 0x37, 0x7a, 0x58, 0x5a);

/** Runs one of Node's decompressors between two async iterables. */
async function* through(
  chunks: AsyncIterable<Uint8Array>,
  transform: Transform,
): AsyncGenerator<Uint8Array> {
  // `pipeline` destroys the transform with the error of the source, which the iteration then throws;
  // leaving the iteration early destroys both.
  pipeline(Readable.from(chunks, { objectMode: false }), transform, () => {});
  yield* transform;
}

async function* unzstdInJavaScript(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const out: Uint8Array[] = [];
  const decompress = new Decompress((part) => out.push(part));
  for await (const chunk of chunks) {
    decompress.push(chunk);
    yield* out.splice(0);
  }
  decompress.push(new Uint8Array(0), true);
  yield* out;
}

/** Node has zstd since 22.15; the types of the oldest supported Node do not know it. */
const native = zlib as unknown as { createZstdDecompress?: () => Transform };

async function* decompressed(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  try {
    const first = await iterator.next();
    if (first.done) return;
    const start = first.value;
    const all = (async function* () {
      yield start;
      yield* { [Symbol.asyncIterator]: () => iterator };
    })();
    if (isGzip(start)) yield* through(all, zlib.createGunzip());
    else if (!isZstd(start)) yield* all;
    else if (native.createZstdDecompress) yield* through(all, native.createZstdDecompress());
    else yield* unzstdInJavaScript(all);
  } finally {
    await iterator.return?.();
  }
}

/**
 * Decompresses a layer. The bytes decide how, not the media type, which not all tools write right.
 * Throws {@link OciError} `ERR_OCI_TRUNCATED`, `ERR_OCI_BAD_LAYER` or `ERR_OCI_UNSUPPORTED_MEDIA`.
 */
export async function* decompress(
  chunks: AsyncIterable<Uint8Array>,
  what: string,
): AsyncGenerator<Uint8Array> {
  let checked = false;
  try {
    for await (const chunk of decompressed(chunks)) {
      if (!checked && isKnownOther(chunk)) {
        throw new OciError(
          "ERR_OCI_UNSUPPORTED_MEDIA",
          `${what} is compressed with bzip2 or xz, which images may not use; compress it with gzip or zstd`,
        );
      }
      checked = true;
      yield chunk;
    }
  } catch (error) {
    throw asOciError(error, what);
  }
}

function asOciError(error: unknown, what: string): unknown {
  if (!(error instanceof Error) || error instanceof OciError) return error;
  const code = (error as NodeJS.ErrnoException).code;
  if (/unexpected (end of file|eof)/i.test(error.message)) {
    return new OciError("ERR_OCI_TRUNCATED", `${what} ends in the middle; get the image again`, {
      cause: error,
    });
  }
  // zlib's codes start with Z_ or ZSTD_, those of fzstd are numbers.
  if (typeof code === "number" || /^(Z_|ZSTD_|ERR_BUFFER)/.test(code ?? "")) {
    return new OciError(
      "ERR_OCI_BAD_LAYER",
      `${what} is not well-formed gzip or zstd: ${error.message}`,
      { cause: error },
    );
  }
  return error;
}
