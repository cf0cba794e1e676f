import { type FsBackend, Notifier, Session } from "@supermachine/fuse-server";
import { DeviceBackingFiles } from "./backing-files.js";
import { DeviceServer } from "./device-server.js";
import { FuseMountError } from "./error.js";
import { KernelMount } from "./kernel-mount.js";
import { isPassthroughPossible, type MountOptions } from "./mount-options.js";

/** How long {@link Mount.unmount} waits for the kernel unless told otherwise. */
const UNMOUNT_TIMEOUT_MS = 5000;

export interface UnmountOptions {
  /**
   * Take it out of the tree at once, although it is in use; programs that still use it get errors.
   * Default false.
   */
  readonly lazy?: boolean;
  /** How long to wait for the kernel, which may wait for a stuck backend. Default 5000. */
  readonly timeoutMs?: number;
}

/** What answers the requests of a mount. */
export interface RequestServer {
  /** Stops answering, within a bounded time whatever the backend does. */
  close(): Promise<void> | void;
  /** For the end of the process. */
  closeNow(): void;
}

const live = new Set<Mount>();
let exitHandled = false;

/** A backend mounted on a directory of this host. */
export class Mount implements AsyncDisposable {
  /** The absolute path of the mount point. */
  readonly path: string;
  /**
   * Resolves when the file system is no longer served: after `unmount`, or when someone else unmounted
   * it. Rejects when the device or the server failed.
   */
  readonly closed: Promise<void>;
  /** Tells the kernel what changed behind its back. */
  readonly notifier: Notifier;
  readonly #kernel: KernelMount;
  readonly #server: RequestServer;
  #settle: { resolve(): void; reject(error: Error): void } | undefined;
  #open = true;

  /** @internal Use {@link mount} or {@link mountModule}. */
  constructor(
    kernel: KernelMount,
    serve: (onEnd: (error: Error | undefined) => void) => RequestServer,
  ) {
    this.path = kernel.path;
    this.#kernel = kernel;
    this.notifier = new Notifier((message) => kernel.notify(message));
    this.closed = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // A program that does not look at `closed` must not die of its rejection.
    this.closed.catch(() => {});
    this.#server = serve((error) => void this.#end(error));
    live.add(this);
    if (!exitHandled) process.once("exit", Mount.#abandonAll);
    exitHandled = true;
  }

  /**
   * Unmounts and releases everything. Throws {@link FuseMountError} `ERR_FUSE_MOUNT_BUSY` while a
   * program uses the mount, and goes on serving then. A backend that does not answer cannot keep it from
   * ending.
   */
  async unmount(options: UnmountOptions = {}): Promise<void> {
    if (!this.#open) return;
    const timeoutMs = options.timeoutMs ?? UNMOUNT_TIMEOUT_MS;
    await this.#kernel.unmount(options.lazy === true, timeoutMs);
    await this.#end(undefined);
  }

  async #end(error: Error | undefined): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    live.delete(this);
    try {
      await this.#server.close();
      // Nobody has unmounted it: a dead mount would stay.
      if (error !== undefined) await this.#kernel.unmount(true, UNMOUNT_TIMEOUT_MS);
    } catch {
      // It is the first failure that tells what happened.
    } finally {
      // Closing the device ends what is still under way.
      this.#kernel.close();
      if (error === undefined) this.#settle?.resolve();
      else this.#settle?.reject(error);
    }
  }

  static #abandonAll(): void {
    for (const mount of live) {
      mount.#open = false;
      mount.#kernel.abandonNow();
      mount.#server.closeNow();
    }
  }

  /** Unmounts, lazily if a program still uses the mount. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.unmount();
    } catch (error) {
      if (!(error instanceof FuseMountError) || error.code !== "ERR_FUSE_MOUNT_BUSY") throw error;
      await this.unmount({ lazy: true });
    }
  }
}

/** Throws {@link FuseMountError} `ERR_FUSE_MOUNT_PLATFORM`. */
export function requireLinux(): void {
  if (process.platform === "linux") return;
  throw new FuseMountError(
    "ERR_FUSE_MOUNT_PLATFORM",
    `mounting needs Linux and /dev/fuse; this is ${process.platform}`,
  );
}

/**
 * Mounts a backend on an existing directory. The files are served from this thread's event
 * loop: this process must never wait for them, or it waits for itself. That goes for `readFileSync` and
 * the like, and for starting a child process with its `cwd` or program inside the mount. See
 * {@link mountModule} for serving from threads.
 *
 * Throws {@link FuseMountError}: `ERR_FUSE_MOUNT_PLATFORM`, `_POINT`, `_STALE`, `_DEVICE`, `_HELPER`,
 * `_FAILED`.
 */
export async function mount(
  backend: FsBackend,
  path: string,
  options: MountOptions = {},
): Promise<Mount> {
  requireLinux();
  const kernel = await KernelMount.create(path, options);
  const mounted = new Mount(kernel, (onEnd) => {
    const { passthrough: _, ...sessionOptions } = options;
    const session = new Session(backend, {
      ...sessionOptions,
      hostKernel: true,
      privateBuffers: true,
      ...(isPassthroughPossible(options) && {
        passthrough: { backing: new DeviceBackingFiles(kernel.fd) },
      }),
    });
    const server = new DeviceServer(kernel.fd, session, options.maxWrite ?? 2 ** 20, onEnd);
    server.watch();
    const close = () => {
      server.close();
      session.close();
    };
    return { close, closeNow: close };
  });
  // In time: the first request is not read before this function returns.
  backend.attachNotifier?.(mounted.notifier);
  return mounted;
}
