import { chmodSync, unlinkSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { fuse_in_header } from "@supermachine/fuse-protocol";
import { FuseServerError } from "../error.js";
import { type Logger, processWarnings } from "../logger.js";
import type { Session } from "../session.js";
import { FrameReader } from "./frames.js";

/** The longest message: a write of 1 MiB with its headers. */
export const LONGEST_FRAME = 2 ** 20 + 4096;
/** Requests of one client in flight, and reply bytes waiting, beyond which it is read no further. */
const MOST_PENDING = 64;
const MOST_UNSENT = 4 * 2 ** 20;
const IDLE_BUFFERS = 4;

export interface ListenOptions {
  /** Default: warnings on the process. */
  readonly logger?: Logger;
}

/** One client of a {@link StreamServer}. */
class StreamPeer {
  readonly #socket: Socket;
  readonly #session: Session;
  readonly #idle: Buffer[] = [];
  #pending = 0;

  constructor(socket: Socket, session: Session, logger: Logger) {
    this.#socket = socket;
    this.#session = session;
    const frames = new FrameReader(fuse_in_header.size, LONGEST_FRAME, (frame) =>
      this.#serve(frame),
    );
    socket.on("data", (chunk: Buffer) => {
      try {
        frames.push(chunk);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        logger.warn(`dropped a client of the FUSE socket: ${reason}`);
        socket.destroy();
      }
    });
    socket.on("drain", () => this.#throttle());
    socket.on("error", (error) => logger.warn("lost a client of the FUSE socket", error));
    socket.on("end", () => {
      if (frames.isPartial)
        logger.warn("a client of the FUSE socket left in the middle of a message");
    });
    socket.on("close", () => session.close());
  }

  #serve(frame: Buffer): void {
    if (this.#socket.destroyed) return;
    const room = this.#idle.pop() ?? Buffer.allocUnsafeSlow(LONGEST_FRAME);
    this.#pending++;
    this.#session.handle([frame], [room], (length) => {
      this.#pending--;
      // The socket keeps what it is given until it is sent; the room is used again at once.
      if (length > 0 && !this.#socket.destroyed)
        this.#socket.write(Buffer.from(room.subarray(0, length)));
      if (this.#idle.length < IDLE_BUFFERS) this.#idle.push(room);
      this.#throttle();
    });
    this.#throttle();
  }

  /** A client that sends faster than it is served, or does not read its replies, has to wait. */
  #throttle(): void {
    const full = this.#pending >= MOST_PENDING || this.#socket.writableLength >= MOST_UNSENT;
    if (full && !this.#socket.isPaused()) this.#socket.pause();
    else if (!full && this.#socket.isPaused()) this.#socket.resume();
  }
}

/** Serves FUSE sessions to the clients of a Unix socket. */
export class StreamServer implements AsyncDisposable {
  /** The path of the socket. */
  readonly path: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #closing: Promise<void> | undefined;

  /** Use {@link listenStream}. */
  constructor(path: string, server: Server, createSession: () => Session, logger: Logger) {
    this.path = path;
    this.#server = server;
    server.on("connection", (socket) => {
      let session: Session;
      try {
        session = createSession();
      } catch (error) {
        logger.warn("refused a client of the FUSE socket: no session could be made", error);
        socket.destroy();
        return;
      }
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      new StreamPeer(socket, session, logger);
    });
  }

  /** How many clients are connected. */
  get clients(): number {
    return this.#sockets.size;
  }

  /** Disconnects every client, ends their sessions and removes the socket. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const socket of this.#sockets) socket.destroy();
    });
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Listens on a Unix socket that only this user may use, and gives each client a session of its own:
 * over one backend, or over one each, as `createSession` likes. A client that breaks the framing is
 * dropped and logged; the others go on.
 *
 * Throws {@link FuseServerError} `ERR_FUSE_SOCKET_IN_USE` when another process listens there (the socket
 * of one that is gone is replaced), `ERR_FUSE_SOCKET` otherwise.
 */
export async function listenStream(
  path: string,
  createSession: () => Session,
  options: ListenOptions = {},
): Promise<StreamServer> {
  const server = createServer();
  try {
    await listen(server, path);
  } catch (error) {
    if (!isErrno(error, "EADDRINUSE") || !(await isAbandoned(path)))
      throw cannotListen(path, error);
    try {
      unlinkSync(path);
      await listen(server, path);
    } catch (again) {
      throw cannotListen(path, again);
    }
  }
  return new StreamServer(path, server, createSession, options.logger ?? processWarnings);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.removeListener("error", reject);
      chmodSync(path, 0o600);
      resolve();
    });
  });
}

function isAbandoned(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(false);
    });
    probe.once("error", (error) => resolve(isErrno(error, "ECONNREFUSED")));
  });
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

function cannotListen(path: string, cause: unknown): FuseServerError {
  return isErrno(cause, "EADDRINUSE")
    ? new FuseServerError("ERR_FUSE_SOCKET_IN_USE", `${path} is in use by another process`, {
        cause,
      })
    : new FuseServerError("ERR_FUSE_SOCKET", `cannot listen on ${path}`, { cause });
}
