import { connect, type Socket } from "node:net";
import { fuse_out_header } from "@supermachine/fuse-protocol";
import { type ClientOptions, type FuseChannel, FuseClient } from "../client/fuse-client.js";
import { FuseServerError } from "../error.js";
import { FrameReader } from "./frames.js";
import { LONGEST_FRAME } from "./listen-stream.js";

type Waiting = (reply: Uint8Array | undefined) => void;

/** Requests and replies over a socket, matched by their `unique`. */
class StreamChannel implements FuseChannel {
  readonly #socket: Socket;
  readonly #waiting = new Map<bigint, Waiting>();

  constructor(socket: Socket) {
    this.#socket = socket;
    const frames = new FrameReader(fuse_out_header.size, LONGEST_FRAME, (frame) => {
      const unique = frame.readBigUInt64LE(fuse_out_header.offsets.unique);
      // Notifications have unique 0: this client caches nothing that they could invalidate.
      const waiting = this.#waiting.get(unique);
      this.#waiting.delete(unique);
      waiting?.(frame);
    });
    socket.on("data", (chunk: Buffer) => {
      try {
        frames.push(chunk);
      } catch {
        socket.destroy();
      }
    });
    // The end shows to callers as requests without a reply.
    socket.on("error", () => {});
    socket.on("close", () => {
      for (const waiting of this.#waiting.values()) waiting(undefined);
      this.#waiting.clear();
    });
  }

  exchange(request: Uint8Array, unique: bigint): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed || unique === 0n) resolve(undefined);
      else this.#waiting.set(unique, resolve);
      if (!this.#socket.destroyed) this.#socket.write(request);
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}

/**
 * Connects to a server made with `listenStream` and negotiates with INIT.
 *
 * Throws {@link FuseServerError} `ERR_FUSE_SOCKET` when nobody listens at `path`, {@link FuseError} when
 * the server refuses.
 */
export async function connectStream(
  path: string,
  options: ClientOptions = {},
): Promise<FuseClient> {
  const socket = await new Promise<Socket>((resolve, reject) => {
    const opening = connect(path, () => resolve(opening));
    opening.once("error", (cause) =>
      reject(new FuseServerError("ERR_FUSE_SOCKET", `cannot connect to ${path}`, { cause })),
    );
  });
  const client = new FuseClient(new StreamChannel(socket), options);
  try {
    await client.init(options);
  } catch (error) {
    client.close();
    throw error;
  }
  return client;
}
