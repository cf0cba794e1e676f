import { chmodSync, unlinkSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { FuseServerError } from "../error.js";
import { type Logger, processWarnings } from "../logger.js";
import type { Session } from "../session.js";
import { type SessionFactory, type StreamLimits, StreamPeer } from "./stream-peer.js";

const DEFAULT_LIMITS: StreamLimits & { readonly maxClients: number } = {
  maxClients: 1024,
  maxPending: 64,
  maxPendingBytes: 64 * 2 ** 20,
  maxUnsentBytes: 4 * 2 ** 20,
  stallMs: 30_000,
};

/** Options of {@link listenStream}: what it logs to, and what its clients may occupy. */
export interface ListenOptions {
  /** Default: warnings on the process. */
  readonly logger?: Logger;
  /**
   * A client names the root that it wants before anything else, as `connectStream` with `root` does. Default
   * false.
   */
  readonly greeting?: boolean;
  /** How many clients may be connected; more are turned away. Default 1024. */
  readonly maxClients?: number;
  /** Requests of one client in flight, beyond which it is read no further. Default 64. */
  readonly maxPending?: number;
  /** Bytes of its requests in flight and of room for their replies, likewise. Default 64 MiB. */
  readonly maxPendingBytes?: number;
  /** Bytes of replies that it has not read, likewise. Default 4 MiB. */
  readonly maxUnsentBytes?: number;
  /**
   * Milliseconds within which a client must greet, and read something of replies that wait for it, before it is
   * dropped. Default 30,000.
   */
  readonly stallMs?: number;
}

/** Serves FUSE sessions to the clients of a Unix socket. */
export class StreamServer implements AsyncDisposable {
  /** The path of the socket. */
  readonly path: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #closing: Promise<void> | undefined;

  /** Use {@link listenStream}. */
  constructor(path: string, server: Server, createSession: SessionFactory, options: ListenOptions) {
    this.path = path;
    this.#server = server;
    const logger = options.logger ?? processWarnings;
    const limits = { ...DEFAULT_LIMITS, ...options };
    server.on("connection", (socket) => {
      if (this.#sockets.size >= limits.maxClients) {
        logger.warn(`turned away a client of the FUSE socket: ${limits.maxClients} are connected`);
        socket.destroy();
        return;
      }
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      new StreamPeer(socket, createSession, options.greeting === true, limits, logger);
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
 * over one backend, or over one each, as `createSession` likes; with `greeting`, it hears which root
 * the client wants, and a {@link FuseError} that it throws is the client's answer. A client that breaks the framing
 * or does not read is dropped and logged; the others go on.
 *
 * Throws {@link FuseServerError} `ERR_FUSE_SOCKET_IN_USE` when another process listens there (the socket
 * of one that is gone is replaced), `ERR_FUSE_SOCKET` otherwise.
 */
export async function listenStream(
  path: string,
  createSession: (root: string | undefined) => Session,
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
  return new StreamServer(path, server, createSession, options);
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
