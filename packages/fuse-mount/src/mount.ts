import { closeSync, constants, openSync, realpathSync, statSync } from "node:fs";
import { type FsBackend, Notifier, Session, type SessionOptions } from "@supermachine/fuse-server";
import { SystemCallError } from "@supermachine-internal/libc";
import { DeviceReader } from "./device-reader.js";
import { FuseMountError } from "./error.js";
import {
  detachNow,
  MNT_DETACH,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  mountFileSystem,
  unmount,
  writeAside,
} from "./native.js";

export interface MountOptions extends SessionOptions {
  /** What `findmnt` and `df` show as the source. Default `supermachine`. */
  readonly source?: string;
  /** Default false. */
  readonly readOnly?: boolean;
  /** Other users may use the mount. Default false. */
  readonly allowOther?: boolean;
  /** The kernel checks permissions by mode and owner. Default true; turn it off if the backend does. */
  readonly defaultPermissions?: boolean;
  /** Honour set-user-id programs. Default false. */
  readonly allowSetuid?: boolean;
  /** Honour device nodes. Default false. */
  readonly allowDevices?: boolean;
  /** Refuse to run programs. Default false. */
  readonly noExec?: boolean;
}

const live = new Set<Mount>();
let exitHandled = false;

/** A backend mounted on a directory of this host and served from this thread's event loop. */
export class Mount implements AsyncDisposable {
  /** The absolute path of the mount point. */
  readonly path: string;
  /**
   * Resolves when the file system is no longer served: after `unmount`, or when someone else unmounted
   * it. Rejects when the device failed.
   */
  readonly closed: Promise<void>;
  /** Tells the kernel what changed behind its back. */
  readonly notifier: Notifier;
  readonly #session: Session;
  readonly #fd: number;
  readonly #reader: DeviceReader;
  #settle: { resolve(): void; reject(error: Error): void } | undefined;
  #open = true;
  #deviceOpen = true;
  #notifying = 0;

  private constructor(path: string, fd: number, session: Session, maxWrite: number) {
    this.path = path;
    this.#fd = fd;
    this.#session = session;
    this.notifier = new Notifier((message) => this.#notify(message));
    this.closed = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // A program that does not look at `closed` must not die of its rejection.
    this.closed.catch(() => {});
    this.#reader = new DeviceReader(fd, session, maxWrite, (error) => this.#end(error));
    live.add(this);
    if (!exitHandled) process.once("exit", Mount.#abandonAll);
    exitHandled = true;
  }

  async #notify(message: Uint8Array): Promise<void> {
    if (!this.#open) return;
    this.#notifying++;
    try {
      await writeAside(this.#fd, message);
    } finally {
      this.#notifying--;
      this.#closeDevice();
    }
  }

  /** Not while another thread writes to it: the number could be another file's by then. */
  #closeDevice(): void {
    if (this.#deviceOpen && !this.#open && this.#notifying === 0) {
      this.#deviceOpen = false;
      closeSync(this.#fd);
    }
  }

  /** See {@link mount}. */
  static async create(backend: FsBackend, path: string, options: MountOptions): Promise<Mount> {
    if (process.platform !== "linux") {
      throw new FuseMountError(
        "ERR_FUSE_MOUNT_PLATFORM",
        `mounting needs Linux and /dev/fuse; this is ${process.platform}`,
      );
    }
    const target = mountPoint(path);
    const fd = openDevice();
    const session = new Session(backend, options);
    let mounted: Mount | undefined;
    try {
      await mountFileSystem(
        options.source ?? "supermachine",
        target,
        "fuse.supermachine",
        mountFlags(options),
        mountData(fd, options),
      );
      mounted = new Mount(target, fd, session, options.maxWrite ?? 2 ** 20);
      return mounted;
    } catch (cause) {
      closeSync(fd);
      throw explain(cause, target);
    }
  }

  /**
   * Unmounts and releases everything. Throws {@link FuseMountError} `ERR_FUSE_MOUNT_BUSY` while a
   * program uses the mount, and goes on serving then.
   *
   * @param options - `lazy`: take it out of the tree at once, although it is in use; programs that
   * still use it get errors.
   */
  async unmount(options: { readonly lazy?: boolean } = {}): Promise<void> {
    if (!this.#open) return;
    try {
      await unmount(this.path, options.lazy === true ? MNT_DETACH : 0);
    } catch (cause) {
      // EINVAL: someone else has unmounted it meanwhile.
      if (!(cause instanceof SystemCallError) || cause.code !== "EINVAL") {
        throw new FuseMountError(
          cause instanceof SystemCallError && cause.code === "EBUSY"
            ? "ERR_FUSE_MOUNT_BUSY"
            : "ERR_FUSE_MOUNT_UNMOUNT",
          `cannot unmount ${this.path}: it is in use, or may not be unmounted; see fuser -m ${this.path}, or unmount it lazily`,
          { cause },
        );
      }
    }
    this.#end(undefined);
  }

  #end(error: Error | undefined): void {
    if (!this.#open) return;
    this.#open = false;
    live.delete(this);
    this.#reader.close();
    // Closing the device aborts what is still under way.
    this.#closeDevice();
    this.#session.close();
    if (error === undefined) this.#settle?.resolve();
    else this.#settle?.reject(error);
  }

  static #abandonAll(): void {
    for (const mount of live) {
      mount.#end(undefined);
      detachNow(mount.path);
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

function mountPoint(path: string): string {
  try {
    const target = realpathSync(path);
    if (!statSync(target).isDirectory()) throw new Error("not a directory");
    return target;
  } catch (cause) {
    throw new FuseMountError(
      "ERR_FUSE_MOUNT_POINT",
      `${path} is no mount point: it must be an existing directory`,
      { cause },
    );
  }
}

function openDevice(): number {
  try {
    return openSync("/dev/fuse", constants.O_RDWR | constants.O_NONBLOCK);
  } catch (cause) {
    throw new FuseMountError(
      "ERR_FUSE_MOUNT_DEVICE",
      "cannot open /dev/fuse: load the fuse module (modprobe fuse), or give this user access to it",
      { cause },
    );
  }
}

function mountFlags(options: MountOptions): number {
  let flags = 0;
  if (options.readOnly === true) flags |= MS_RDONLY;
  if (options.allowSetuid !== true) flags |= MS_NOSUID;
  if (options.allowDevices !== true) flags |= MS_NODEV;
  if (options.noExec === true) flags |= MS_NOEXEC;
  return flags;
}

function mountData(fd: number, options: MountOptions): string {
  const data = [
    `fd=${fd}`,
    "rootmode=40000",
    `user_id=${process.getuid?.() ?? 0}`,
    `group_id=${process.getgid?.() ?? 0}`,
  ];
  if (options.allowOther === true) data.push("allow_other");
  if (options.defaultPermissions !== false) data.push("default_permissions");
  return data.join(",");
}

function explain(cause: unknown, target: string): Error {
  const denied = cause instanceof SystemCallError && cause.code === "EPERM";
  const advice = denied ? "mounting needs root (CAP_SYS_ADMIN)" : "see the cause";
  return new FuseMountError("ERR_FUSE_MOUNT_FAILED", `cannot mount on ${target}: ${advice}`, {
    cause,
  });
}

/**
 * Mounts a backend on an existing directory, as root. The files are served from this thread's event
 * loop: this process must never wait for them, or it waits for itself. That goes for `readFileSync` and
 * the like, and for starting a child process with its `cwd` or program inside the mount.
 *
 * Throws {@link FuseMountError}: `ERR_FUSE_MOUNT_PLATFORM`, `_POINT`, `_DEVICE`, `_FAILED`.
 */
export function mount(
  backend: FsBackend,
  path: string,
  options: MountOptions = {},
): Promise<Mount> {
  return Mount.create(backend, path, options);
}
