import { type Logger, Session } from "@supermachine/fuse-server";
import { PosixBackend, type PosixBackendOptions } from "@supermachine/posix-backend";
import {
  FsDevice,
  type FuseRequestHandler,
  serveVhostUser,
  type VhostUserServer,
} from "@supermachine/virtio";
import { FsdError } from "./error.js";
import { requireLinux } from "./platform.js";
import { admitGroup, claimSocketPath } from "./socket-path.js";

/** What {@link serveDirectory} serves, and where. */
export interface ServeDirectoryOptions extends PosixBackendOptions {
  /** The directory; symbolic links in this path are followed, once. */
  readonly sharedDir: string;
  /** Where to listen, at most 107 bytes. The socket of a server that is gone is replaced. */
  readonly socketPath?: string;
  /** Instead: a Unix stream socket that listens already. The server owns it from then on. */
  readonly socketFd?: number;
  /** Let the members of this group connect too (gid). Default: this user alone. */
  readonly socketGroup?: number;
  /**
   * The name that the guest mounts, 1 to 36 bytes of UTF-8, for front-ends that ask for it. QEMU does
   * not: there it is a property of the device.
   */
  readonly tag?: string;
  /** Virtqueues for requests beside the one with priority, 1 to 64. Default 1. */
  readonly requestQueues?: number;
  /** Let the guest ask for names and attributes at once. Default true. */
  readonly readdirplus?: boolean;
  /**
   * For how long at most to look for the next request before sleeping until one is announced, in
   * milliseconds: answers come sooner, for processor time while the guest is busy with files. Default 0.
   */
  readonly pollMs?: number;
  /** Default: warnings on the process. */
  readonly logger?: Logger;
}

/** One directory, served to one virtual machine after the other. */
export interface DirectoryServer extends AsyncDisposable {
  /** Where it listens: a path, or `fd N`. */
  readonly socketPath: string;
  /** Whether a virtual machine is connected. */
  readonly connected: boolean;
  /** How many nodes the connected machine holds, the root included. */
  readonly inodeCount: number;
  /** How many files and directories it has open. */
  readonly handleCount: number;
  /**
   * Resolves when the next machine that is or gets connected has disconnected: with the fault for which
   * it was dropped, if any. Also, with nothing, when the server is closed.
   */
  disconnected(): Promise<Error | undefined>;
  /** Drops the machine, stops listening, and releases everything. Idempotent. */
  close(): Promise<void>;
}

/**
 * Sessions of one machine after the other, over one backend. What a machine held is released when it
 * disconnects: the next starts with INIT, as after a boot.
 */
class SessionSeries implements FuseRequestHandler {
  readonly #create: () => Session;
  #current: Session;

  constructor(create: () => Session) {
    this.#create = create;
    this.#current = create();
  }

  handle(
    input: readonly Uint8Array[],
    output: readonly Uint8Array[],
    complete: (bytesWritten: number) => void,
  ): void {
    this.#current.handle(input, output, complete);
  }

  next(): void {
    this.#current.close();
    this.#current = this.#create();
  }

  close(): void {
    this.#current.close();
  }
}

class Server implements DirectoryServer {
  readonly #server: VhostUserServer;
  readonly #backend: PosixBackend;
  readonly #sessions: SessionSeries;
  readonly #device: FsDevice;
  readonly #waiting: ((reason: Error | undefined) => void)[] = [];
  #connected = false;
  #open = true;

  constructor(options: ServeDirectoryOptions, logger: Logger) {
    const { socketPath, socketFd, socketGroup } = options;
    this.#backend = openBackend(options);
    try {
      this.#sessions = new SessionSeries(() => new Session(this.#backend, sessionOptions(options)));
      this.#device = new FsDevice({
        tag: options.tag ?? "fs",
        session: this.#sessions,
        pollMs: options.pollMs,
        ...(options.requestQueues === undefined ? {} : { requestQueues: options.requestQueues }),
      });
      if (socketPath !== undefined) claimSocketPath(socketPath);
      this.#server = serveVhostUser({
        ...(socketPath === undefined ? {} : { socketPath }),
        ...(socketFd === undefined ? {} : { socketFd }),
        device: this.#device,
        offerConfig: options.tag !== undefined,
        logger,
        onConnect: () => {
          this.#connected = true;
        },
        onDisconnect: (reason) => this.#onDisconnect(reason),
      });
      if (socketPath !== undefined && socketGroup !== undefined)
        admitGroup(socketPath, socketGroup);
    } catch (error) {
      this.#backend.close();
      throw error;
    }
  }

  get socketPath(): string {
    return this.#server.socketPath;
  }

  get connected(): boolean {
    return this.#connected;
  }

  get inodeCount(): number {
    return this.#backend.inodeCount;
  }

  get handleCount(): number {
    return this.#backend.handleCount;
  }

  disconnected(): Promise<Error | undefined> {
    if (!this.#open) return Promise.resolve(undefined);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #onDisconnect(reason: Error | undefined): void {
    this.#connected = false;
    this.#sessions.next();
    for (const resolve of this.#waiting.splice(0)) resolve(reason);
  }

  close(): Promise<void> {
    if (this.#open) {
      this.#open = false;
      this.#connected = false;
      this.#server.close();
      this.#device.close();
      this.#sessions.close();
      this.#backend.close();
      for (const resolve of this.#waiting.splice(0)) resolve(undefined);
    }
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function openBackend(options: ServeDirectoryOptions): PosixBackend {
  try {
    return new PosixBackend(options.sharedDir, options);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FsdError("ERR_FSD_SHARE", `cannot share ${options.sharedDir}: ${reason}`, { cause });
  }
}

function sessionOptions({ logger, readdirplus }: ServeDirectoryOptions) {
  return {
    ...(logger === undefined ? {} : { logger }),
    ...(readdirplus === undefined ? {} : { readdirplus }),
  };
}

/** Warnings of the process, as Node.js shows them. */
const processWarnings: Logger = {
  warn: (message) => process.emitWarning(message, { type: "FsdWarning" }),
};

/**
 * Serves a host directory to virtual machines over vhost-user, in place of virtiofsd: QEMU's
 * `vhost-user-fs-pci`, Cloud Hypervisor's `--fs`. One machine at a time; when it disconnects, all it held is
 * released and the next may connect. Served on this thread's event loop, without isolation: see
 * {@link startDaemon} for a process of its own, jailed.
 *
 * Throws {@link FsdError}: `ERR_FSD_PLATFORM`, `ERR_FSD_SHARE`, `ERR_FSD_SOCKET`, `ERR_FSD_SOCKET_IN_USE`,
 * `ERR_FSD_OPTION`.
 *
 * @example
 * ```ts
 * await using server = await serveDirectory({ sharedDir: "/srv/project", socketPath: "/run/fs.sock" });
 * ```
 */
export async function serveDirectory(options: ServeDirectoryOptions): Promise<DirectoryServer> {
  requireLinux();
  if ((options.socketPath === undefined) === (options.socketFd === undefined)) {
    throw new FsdError("ERR_FSD_OPTION", "give either a path or a descriptor of a socket");
  }
  try {
    return new Server(options, options.logger ?? processWarnings);
  } catch (error) {
    throw asFsdError(error);
  }
}

function asFsdError(error: unknown): Error {
  if (error instanceof FsdError) return error;
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const message = error instanceof Error ? error.message : String(error);
  if (code === "ERR_VIRTIO_DEVICE_OPTIONS") {
    return new FsdError("ERR_FSD_OPTION", message, { cause: error });
  }
  return new FsdError("ERR_FSD_SOCKET", message, { cause: error });
}
