import { constants } from "node:os";
import {
  FuseError,
  type Logger,
  listenStream,
  Session,
  type SessionOptions,
  type StreamServer,
} from "@supermachine/fuse-server";
import { PosixBackend, type PosixBackendOptions } from "@supermachine/posix-backend";
import { FsdError } from "./error.js";
import { requireLinux } from "./platform.js";
import { fileLimit } from "./sandbox/system-calls.js";
import { admitGroup } from "./socket-path.js";

/** A directory that clients may name, and how it is served to each of them. */
export interface RootOptions extends PosixBackendOptions {
  readonly dir: string;
}

/** What all clients together and each of them may occupy. */
export interface ClientLimits {
  /** Clients connected at once; more are turned away. Default 64. */
  readonly maxClients?: number;
  /** Requests of one client in flight, beyond which it is read no further. Default 64. */
  readonly maxPending?: number;
  /** Bytes of its requests in flight and of room for their replies, likewise. Default 64 MiB. */
  readonly maxPendingBytes?: number;
  /** Bytes of replies that it has not read, likewise. Default 4 MiB. */
  readonly maxUnsentBytes?: number;
  /** Milliseconds within which a client must name its root, and read replies that wait. Default 30,000. */
  readonly stallMs?: number;
  /** Files and directories that one client may have open (ENFILE beyond). Default: its part of an eighth of all fds. */
  readonly maxHandles?: number;
  /** Nodes, and so names, that one client may hold (ENFILE beyond). Default 65,536. */
  readonly maxInodes?: number;
  /** Fds that those nodes may take. Default: its part of half of all. */
  readonly maxFds?: number;
}

/** What {@link serveRoots} serves, and where. */
export interface ServeRootsOptions extends ClientLimits {
  /** Where to listen. The socket of a server that is gone is replaced. */
  readonly socketPath: string;
  /** Let the members of this group connect too (gid). Default: this user alone. */
  readonly socketGroup?: number;
  /** By the names that clients know, of 1 to 255 bytes. */
  readonly roots: Readonly<Record<string, RootOptions>>;
  /** Default: warnings on the process. */
  readonly logger?: Logger;
}

/** What clients hold at the moment. */
export interface RootsUsage {
  readonly clients: number;
  readonly openFiles: number;
  readonly inodes: number;
}

/** One client's root: a backend of its own, so that it holds and releases nothing of another's. */
class RootSession extends Session {
  readonly backend: PosixBackend;
  readonly #onClose: (session: RootSession) => void;

  constructor(
    backend: PosixBackend,
    options: SessionOptions,
    onClose: (session: RootSession) => void,
  ) {
    super(backend, options);
    this.backend = backend;
    this.#onClose = onClose;
  }

  override close(): void {
    super.close();
    this.backend.close();
    this.#onClose(this);
  }
}

/** Several directories, served to many clients over one socket. */
export class RootsServer implements AsyncDisposable {
  readonly #server: StreamServer;
  readonly #sessions: ReadonlySet<RootSession>;

  private constructor(server: StreamServer, sessions: ReadonlySet<RootSession>) {
    this.#server = server;
    this.#sessions = sessions;
  }

  /** See {@link serveRoots}. */
  static async listen(options: ServeRootsOptions): Promise<RootsServer> {
    requireLinux();
    const { socketPath, socketGroup, logger } = options;
    const roots = new Map(Object.entries(options.roots));
    for (const [name, root] of roots) checkRoot(name, root);
    const limits = perClient(options);
    const sessions = new Set<RootSession>();
    const createSession = (name: string | undefined) => {
      const root = roots.get(name ?? "");
      if (root === undefined)
        throw new FuseError(constants.errno.ENOENT, "there is no root of that name");
      const { dir, ...own } = root;
      const session = new RootSession(
        new PosixBackend(dir, { ...limits, ...own }),
        logger === undefined ? {} : { logger },
        (closed) => sessions.delete(closed),
      );
      sessions.add(session);
      return session;
    };
    try {
      const server = await listenStream(socketPath, createSession, {
        ...streamLimits(options),
        greeting: true,
        ...(logger === undefined ? {} : { logger }),
      });
      if (socketGroup !== undefined) admitGroup(socketPath, socketGroup);
      return new RootsServer(server, sessions);
    } catch (cause) {
      throw cannotListen(cause);
    }
  }

  get socketPath(): string {
    return this.#server.path;
  }

  /** What clients hold at the moment. */
  get usage(): RootsUsage {
    let openFiles = 0;
    let inodes = 0;
    for (const { backend } of this.#sessions) {
      openFiles += backend.handleCount;
      inodes += backend.inodeCount;
    }
    return { clients: this.#server.clients, openFiles, inodes };
  }

  /** Disconnects every client, releases what they held, and removes the socket. Idempotent. */
  close(): Promise<void> {
    return this.#server.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function checkRoot(name: string, { dir, ...options }: RootOptions): void {
  const bytes = Buffer.byteLength(name);
  if (bytes === 0 || bytes > 255 || name.includes("\0")) {
    throw new FsdError(
      "ERR_FSD_OPTION",
      `${JSON.stringify(name)} is no name of a root: it has 1 to 255 bytes, none of them 0`,
    );
  }
  try {
    new PosixBackend(dir, options).close();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FsdError("ERR_FSD_SHARE", `root ${JSON.stringify(name)}: ${reason}`, { cause });
  }
}

/** What a client's backend may take, so that all of them together cannot use up this process's fds. */
function perClient(options: ServeRootsOptions): PosixBackendOptions {
  const clients = options.maxClients ?? DEFAULT_MAX_CLIENTS;
  const { soft } = fileLimit(0);
  const part = (share: number) => Math.max(16, Math.floor((soft * share) / clients));
  return {
    maxInodes: options.maxInodes ?? 65_536,
    maxHandles: options.maxHandles ?? part(1 / 8),
    maxFds: options.maxFds ?? part(1 / 2),
  };
}

const DEFAULT_MAX_CLIENTS = 64;

function streamLimits(options: ServeRootsOptions) {
  const { maxPending, maxPendingBytes, maxUnsentBytes, stallMs } = options;
  return {
    maxClients: options.maxClients ?? DEFAULT_MAX_CLIENTS,
    ...(maxPending === undefined ? {} : { maxPending }),
    ...(maxPendingBytes === undefined ? {} : { maxPendingBytes }),
    ...(maxUnsentBytes === undefined ? {} : { maxUnsentBytes }),
    ...(stallMs === undefined ? {} : { stallMs }),
  };
}

function cannotListen(cause: unknown): FsdError {
  const message = cause instanceof Error ? cause.message : String(cause);
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  const inUse = code === "ERR_FUSE_SOCKET_IN_USE";
  return new FsdError(inUse ? "ERR_FSD_SOCKET_IN_USE" : "ERR_FSD_SOCKET", message, { cause });
}

/**
 * Serves several directories to many clients over one Unix socket, on this thread's event loop. A client names
 * the root that it wants, with `connectStream(path, { root })` of `@supermachine/fuse-server`, and is confined to
 * that one; what it may occupy is bounded, and all it held is released when it leaves, however it does.
 *
 * Throws {@link FsdError}: `ERR_FSD_PLATFORM`, `ERR_FSD_OPTION`, `ERR_FSD_SHARE`, `ERR_FSD_SOCKET`,
 * `ERR_FSD_SOCKET_IN_USE`.
 *
 * @example
 * ```ts
 * await using server = await serveRoots({
 *   socketPath: "/run/roots.sock",
 *   roots: { project: { dir: "/srv/project" }, docs: { dir: "/srv/docs", readOnly: true } },
 * });
 * ```
 */
export function serveRoots(options: ServeRootsOptions): Promise<RootsServer> {
  return RootsServer.listen(options);
}
