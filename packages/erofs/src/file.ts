/**
 * EROFS images in files: the only part of the package that does I/O, imported as
 * `@supermachine/erofs/file`.
 *
 * @packageDocumentation
 */
import type { FileHandle } from "node:fs/promises";
import type { ErofsInput } from "./reader.js";
import type { ErofsOutput } from "./sequential-output.js";

/** Writes an image to a new, empty file. The handle stays the caller's to close. */
export function fileOutput(handle: FileHandle): ErofsOutput {
  return {
    async write(position, bytes) {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await handle.write(
          bytes,
          done,
          bytes.length - done,
          position + done,
        );
        done += bytesWritten;
      }
    },
  };
}

/** Reads an image from a file. The handle stays the caller's to close. */
export async function fileInput(handle: FileHandle): Promise<ErofsInput> {
  const { size } = await handle.stat();
  return {
    size,
    async read(position, length) {
      const bytes = new Uint8Array(length);
      let done = 0;
      while (done < length) {
        const { bytesRead } = await handle.read(bytes, done, length - done, position + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return bytes.subarray(0, done);
    },
  };
}
