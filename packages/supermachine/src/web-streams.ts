import type { Readable, Writable } from "node:stream";
import { SupermachineError } from "./errors.js";

/*
 * Node.js has adapters of its own (`Readable.toWeb`), but theirs know nothing of how a command ended: a stream
 * that was cut off would look complete.
 */

/** A Web stream that holds nothing itself: it asks for one chunk at a time. `ended` decides how it ends. */
export function webReadable(
  readable: Readable,
  ended: Promise<unknown>,
): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        readable.pause();
        readable.on("data", (chunk: Uint8Array) => {
          readable.pause();
          controller.enqueue(chunk);
        });
        readable.once("end", () => {
          ended.then(
            () => controller.close(),
            (error: unknown) => controller.error(error),
          );
        });
      },
      pull: () => void readable.resume(),
      cancel: () => void readable.removeAllListeners().destroy(),
    },
    { highWaterMark: 0 },
  );
}

/** A Web stream whose writes settle when the command's side has room for more. */
export function webWritable(writable: Writable): WritableStream<Uint8Array | string> {
  const why = writable.destroyed
    ? "the command was started without `stdin: true`"
    : "the command takes no more input";
  const closed = (cause?: unknown) =>
    new SupermachineError("ERR_EXEC_INPUT_CLOSED", why, { cause });
  return new WritableStream<Uint8Array | string>({
    start(controller) {
      writable.once("close", () => controller.error(closed()));
    },
    write: (chunk) =>
      new Promise((resolve, reject) => {
        const onClose = () => reject(closed());
        writable.once("close", onClose);
        writable.write(chunk, (error) => {
          writable.off("close", onClose);
          if (error) reject(closed(error));
          else resolve();
        });
      }),
    close: () =>
      new Promise((resolve) => {
        // A command that has ended in the meantime has its end of input, too.
        writable.end(() => resolve());
      }),
    abort: () => void writable.destroy(),
  });
}
