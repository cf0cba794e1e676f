import { connect, type Socket } from "node:net";
import { fuse_out_header } from "@supermachine/fuse-protocol";
import { type ClientOptions, type FuseChannel, FuseClient } from "../client/fuse-client.js";
import { FuseError, FuseServerError } from "../error.js";
import { FrameReader } from "./frames.js";
import { ANSWER_LENGTH, decodeAnswer, encodeGreeting } from "./greeting.js";
import { LONGEST_FRAME } from "./stream-peer.js";

/** Options of {@link connectStream}. */
export interface ConnectOptions extends ClientOptions {
  /** Which of its roots the server is to serve, where it has several: 1 to 255 bytes of UTF-8. */
  readonly root?: string;
}

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
    socket.resume();
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

/** Names the root, and waits for the answer. */
async function greet(socket: Socket, root: string): Promise<void> {
  socket.write(encodeGreeting(root));
  const answer = await new Promise<Buffer>((resolve, reject) => {
    const frames = new FrameReader(ANSWER_LENGTH, ANSWER_LENGTH, (frame) => {
      // The server says no more before it is asked.
      socket.pause();
      socket.off("data", onData);
      resolve(frame);
    });
    const onData = (chunk: Buffer) => {
      try {
        frames.push(chunk);
      } catch (error) {
        reject(error);
      }
    };
    socket.on("data", onData);
    socket.once("close", () =>
      reject(new FuseServerError("ERR_FUSE_SOCKET", "the server hung up instead of an answer")),
    );
  });
  const error = decodeAnswer(answer);
  if (error < 0) throw new FuseError(-error, `the server refuses ${JSON.stringify(root)}`);
}

/**
 * Connects to a server made with `listenStream` and negotiates with INIT.
 *
 * Throws {@link FuseServerError} `ERR_FUSE_SOCKET` when nobody listens at `path`, `ERR_FUSE_GREETING` when the
 * two do not agree on how to name a root, {@link FuseError} when the server refuses.
 */
export async function connectStream(
  path: string,
  options: ConnectOptions = {},
): Promise<FuseClient> {
  const socket = await new Promise<Socket>((resolve, reject) => {
    const opening = connect(path, () => resolve(opening));
    opening.once("error", (cause) =>
      reject(new FuseServerError("ERR_FUSE_SOCKET", `cannot connect to ${path}`, { cause })),
    );
  });
  // What goes wrong shows as a connection that closes.
  socket.on("error", () => {});
  if (options.root !== undefined) {
    try {
      await greet(socket, options.root);
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }
  const client = new FuseClient(new StreamChannel(socket), options);
  try {
    await client.init(options);
  } catch (error) {
    client.close();
    throw error;
  }
  return client;
}
