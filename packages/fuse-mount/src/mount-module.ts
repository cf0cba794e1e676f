import type { Notifier } from "@supermachine/fuse-server";
import { FuseMountError } from "./error.js";
import { KernelMount } from "./kernel-mount.js";
import { Mount, requireLinux } from "./mount.js";
import type { ThreadedMountOptions } from "./mount-options.js";
import { ServingThreads } from "./serving-threads.js";

export interface ModuleMountOptions extends ThreadedMountOptions {
  /** How many threads serve, 1..64. Default 1. */
  readonly threads?: number;
}

/** A backend to be made on other threads. */
export interface BackendSource {
  /**
   * A module that exports `createBackend(data)`, which returns a backend, or a promise of one. It is
   * called on each thread. A backend with `Symbol.dispose` or `Symbol.asyncDispose` is disposed at the end.
   * It may export `createPracticeBackend()` as well, which returns an empty and disposable backend of the same
   * kind: each thread then serves it requests of our own for a quarter of a second, so that V8 has
   * compiled the code when the mount appears.
   */
  readonly module: URL | string;
  /** Anything that can be cloned to another thread. */
  readonly data?: unknown;
  /** Called on this thread before the backends get their first request. */
  attachNotifier?(notifier: Notifier): void;
}

/**
 * Mounts a backend that is served by threads of its own, so this process may use the mount as any
 * other, and which wait in read(2), which is faster than an event loop. With several threads each has
 * its own backend, and any request may come to any of them: a node that one delivered is looked up,
 * forgotten or released at another. The backends must share what they know of nodes and handles.
 *
 * Timers and I/O events of such a thread only run while a request of its own is under way.
 *
 * Throws {@link FuseMountError}: those of {@link mount}, and `ERR_FUSE_MOUNT_MODULE`, `_SIGNAL`.
 */
export async function mountModule(
  source: BackendSource,
  path: string,
  options: ModuleMountOptions = {},
): Promise<Mount> {
  requireLinux();
  const { threads = 1, ...mountOptions } = options;
  if (!Number.isInteger(threads) || threads < 1 || threads > 64) {
    throw new FuseMountError("ERR_FUSE_MOUNT_OPTION", `threads is ${threads}; it must be 1..64`);
  }
  const serving = await ServingThreads.start(
    source.module.toString(),
    source.data,
    threads,
    mountOptions,
  );
  let kernel: KernelMount;
  try {
    kernel = await KernelMount.create(path, mountOptions);
  } catch (error) {
    await serving.close();
    throw error;
  }
  let end: (error: Error | undefined) => void = () => {};
  const mounted = new Mount(kernel, (onEnd) => {
    end = onEnd;
    return serving;
  });
  source.attachNotifier?.(mounted.notifier);
  try {
    await serving.serve(kernel.fd, () => kernel.clone(), end);
    return mounted;
  } catch (cause) {
    await mounted.unmount({ lazy: true });
    if (cause instanceof FuseMountError) throw cause;
    const message = `cannot serve ${path}: see the cause`;
    throw new FuseMountError("ERR_FUSE_MOUNT_FAILED", message, { cause });
  }
}
