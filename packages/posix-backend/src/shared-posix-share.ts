import type { Notifier } from "@supermachine/fuse-server";
import { PosixBackendError } from "./error.js";
import { MAX_THREADS } from "./nodes/node-memory.js";
import { type PosixBackendOptions, settingsOf } from "./options.js";
import { isPortable } from "./platform/host.js";
import { Share } from "./share.js";
import type { WatcherAddress } from "./watch/remote-registry.js";
import { SharedWatch } from "./watch/shared-watch.js";

/** Options of {@link SharedPosixShare}. */
export interface SharedPosixShareOptions extends PosixBackendOptions {
  /** How many threads may have a backend at once, 1..31. Default 4. */
  readonly threads?: number;
}

/** What a thread makes its backend of. It can be posted. */
export interface SharedPosixShareData {
  readonly memory: SharedArrayBuffer;
  readonly options: PosixBackendOptions;
  /** With `watch`. */
  readonly watcher: WatcherAddress | undefined;
}

/**
 * A directory that several threads serve to one client, each with a `PosixBackend` of its own over the same nodes
 * and open files. For clients that are trusted to keep the order of requests, as the kernel of this host
 * does for a mount: none may use a node or a handle while it forgets or releases it.
 *
 * Close it when the threads have ended: what they serve ends with it.
 *
 * @example
 * ```ts
 * using share = new SharedPosixShare("/srv/project", { threads: 2 });
 * await using mounted = await mountModule(share, "/mnt/project", { threads: 2 });
 * ```
 */
export class SharedPosixShare implements Disposable {
  /** The module whose `createBackend(data)` makes a backend in any thread of this process. */
  readonly module: URL = new URL("./thread.js", import.meta.url);
  readonly data: SharedPosixShareData;
  readonly #share: Share;
  readonly #watch: SharedWatch | undefined;

  /** @throws `PosixBackendError` as `PosixBackend` does. */
  constructor(root: string, options: SharedPosixShareOptions = {}) {
    const { threads = 4, ...backendOptions } = options;
    if (isPortable) {
      throw new PosixBackendError(
        "ERR_POSIX_PLATFORM",
        "several threads can share a directory on Linux only; use a PosixBackend",
      );
    }
    if (!Number.isInteger(threads) || threads < 1 || threads >= MAX_THREADS) {
      throw new PosixBackendError(
        "ERR_POSIX_OPTION",
        `threads is ${threads}; it must be 1..${MAX_THREADS - 1}`,
      );
    }
    if (backendOptions.locks === true && threads > 1) {
      throw new PosixBackendError(
        "ERR_POSIX_OPTION",
        "locks are kept by one thread: leave the option out, or set threads to 1",
      );
    }
    // One more, for this object.
    const settings = settingsOf(backendOptions);
    this.#share = new Share(root, settings, threads + 1);
    try {
      this.#watch = settings.watch ? new SharedWatch(this.#share.inodes, settings) : undefined;
    } catch (error) {
      this.#share.close();
      throw error;
    }
    this.#share.makeRoomForDescriptors();
    const watcher = this.#watch?.address;
    this.data = { memory: this.#share.memory, options: backendOptions, watcher };
  }

  /** How to tell the client of changes, with `watch`; `mountModule` calls it. */
  attachNotifier(notifier: Notifier): void {
    this.#watch?.attach(notifier);
  }

  /** How many nodes the client holds, the root included. */
  get inodeCount(): number {
    return this.#share.inodes.size;
  }

  /** How many files and directories the client has open. */
  get handleCount(): number {
    return this.#share.handles.size;
  }

  /** Forgets everything and closes every fd, those of the threads included. */
  close(): void {
    this.#watch?.close();
    this.#share.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
