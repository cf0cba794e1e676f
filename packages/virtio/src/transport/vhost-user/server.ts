import {
  UnixListener,
  type UnixSocket,
  type Watch,
  watchReadable,
} from "@supermachine-internal/libc";
import type { VirtioDevice } from "../../device/device.js";
import { VhostUserError } from "./error.js";
import { FrontEndSession } from "./front-end-session.js";

/** Where a server says why it dropped a front-end or stopped a device; `console` is one. */
export interface VhostUserLogger {
  warn(message: string): void;
}

/** What {@link serveVhostUser} serves, and where. */
export interface VhostUserServerOptions {
  /**
   * Where to listen: a path that does not exist, of at most 107 bytes, to which only this user can connect
   * (mode 0600); or a Unix stream socket that listens already, which the server then owns.
   */
  readonly socketPath?: string;
  readonly socketFd?: number;
  /** The device; the caller closes it, after the server. */
  readonly device: VirtioDevice;
  /**
   * Offer the device's configuration (`VHOST_USER_PROTOCOL_F_CONFIG`). QEMU has the one of a file system
   * itself, and complains of back-ends that offer theirs; 7.1 to 8.0 are said to crash. Default true.
   */
  readonly offerConfig?: boolean;
  /** Default: nothing is logged. */
  readonly logger?: VhostUserLogger;
  /** A front-end has connected and asked for something. Who only looks whether anyone listens is none. */
  readonly onConnect?: () => void;
  /** That front-end is gone, with the fault for which it was dropped, if any. */
  readonly onDisconnect?: (reason: Error | undefined) => void;
}

/** A vhost-user back-end that waits for front-ends on a Unix socket. */
export interface VhostUserServer extends Disposable {
  /** Where it listens: a path, or `fd N`. */
  readonly socketPath: string;
  /** Drops the front-end, stops listening and removes the socket. Idempotent. */
  close(): void;
}

/** How long to wait when the process has no descriptor left for a new connection. */
const ACCEPT_RETRY_MS = 100;

function listenerOf({ socketPath, socketFd }: VhostUserServerOptions): UnixListener {
  if (socketPath !== undefined && socketFd === undefined) return UnixListener.listen(socketPath);
  if (socketFd !== undefined && socketPath === undefined) return UnixListener.adopt(socketFd);
  throw new RangeError("give either socketPath or socketFd");
}

class Server implements VhostUserServer {
  readonly #listener: UnixListener;
  readonly #device: VirtioDevice;
  readonly #options: VhostUserServerOptions;
  #watch: Watch | undefined;
  #retry: NodeJS.Timeout | undefined;
  #session: FrontEndSession | undefined;
  #open = true;

  constructor(options: VhostUserServerOptions) {
    try {
      this.#listener = listenerOf(options);
    } catch (cause) {
      throw new VhostUserError(
        "ERR_VIRTIO_VHOST_USER_SOCKET",
        `cannot listen for vhost-user front-ends: ${cause instanceof Error ? cause.message : cause}`,
        { cause },
      );
    }
    this.#device = options.device;
    this.#options = options;
    this.#listen();
  }

  get socketPath(): string {
    return this.#listener.path;
  }

  #listen(): void {
    this.#watch = watchReadable(this.#listener.fd, () => this.#accept());
  }

  #accept(): void {
    let socket: UnixSocket | undefined;
    try {
      socket = this.#listener.accept();
    } catch (error) {
      // Most likely EMFILE. The connection stays readable, so do not spin on it.
      this.#warn(String(error));
      this.#watch?.close();
      this.#retry = setTimeout(() => this.#listen(), ACCEPT_RETRY_MS);
      return;
    }
    if (socket === undefined) return;
    // It may be the same front-end coming back, before its hanging up was noticed.
    this.#session?.poll();
    if (this.#session !== undefined) {
      this.#warn("a second front-end was turned away: one is connected");
      socket.close();
      return;
    }
    const warn = (message: string) => this.#warn(message);
    const session = new FrontEndSession(
      socket,
      this.#device,
      (reason) => {
        this.#session = undefined;
        if (reason !== undefined) this.#warn(`the front-end was dropped: ${reason.message}`);
        if (session.asked) this.#options.onDisconnect?.(reason);
      },
      warn,
      this.#options.offerConfig ?? true,
      () => this.#options.onConnect?.(),
    );
    this.#session = session;
  }

  #warn(message: string): void {
    this.#options.logger?.warn(`vhost-user ${this.socketPath}: ${message}`);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    clearTimeout(this.#retry);
    this.#watch?.close();
    this.#session?.[Symbol.dispose]();
    this.#session = undefined;
    this.#listener.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Serves a virtio device to one vhost-user front-end at a time (QEMU, Cloud Hypervisor, crosvm) as a
 * process of its own would, on this thread's event loop. A front-end that disconnects may come back. One
 * that breaks the protocol is dropped, with the reason in the log. Linux only.
 *
 * Protocol: docs/interop/vhost-user.rst of QEMU. Split rings; no dirty-page logging, so no live
 * migration; guest memory must be shared files of ordinary pages (`memory-backend-memfd,share=on`).
 *
 * Throws {@link VhostUserError} `ERR_VIRTIO_VHOST_USER_SOCKET` when it cannot listen.
 */
export function serveVhostUser(options: VhostUserServerOptions): VhostUserServer {
  return new Server(options);
}
