import type { FuseChannel } from "../src/client/fuse-client.js";
import type { Session } from "../src/index.js";

/** Cuts bytes into pieces, as a descriptor chain may. */
export function split(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const size of sizes) {
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  pieces.push(bytes.subarray(at));
  return pieces;
}

/** Hands requests to a session in this thread, cut into pieces of the given sizes. */
export function directChannel(
  session: Session,
  options: { inputSizes?: readonly number[]; outputSizes?: readonly number[]; room?: number } = {},
): FuseChannel {
  return {
    exchange: (request, unique) =>
      new Promise((resolve) => {
        const room = new Uint8Array(unique === 0n ? 0 : (options.room ?? 1 << 17));
        session.handle(
          split(request, options.inputSizes ?? [40]),
          split(room, options.outputSizes ?? [16]),
          (length) => resolve(length === 0 ? undefined : room.subarray(0, length)),
        );
      }),
  };
}
