import { closeSync, constants, openSync, realpathSync, statSync } from "node:fs";
import { type FsBackend, Notifier, Session, type SessionOptions } from "@supermachine/fuse-server";
import { closeFd, SystemCallError } from "@supermachine-internal/libc";
import { DeviceReader } from "./device-reader.js";
import { FuseMountError } from "./error.js";
import { detachWithHelperNow, mountWithHelper, unmountWithHelper } from "./fusermount.js";
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
  /**
   * Who mounts: this process with mount(2), which takes root, or the set-user-id helper fusermount3(1)
   * of the fuse3 package. Default: the first for root, the second for others.
   */
  readonly via?: "mount" | "fusermount3";
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
  readonly #via: "mount" | "fusermount3";
  readonly #reader: DeviceReader;
  #settle: { resolve(): void; reject(error: Error): void } | undefined;
  #open = true;
  #deviceOpen = true;
  #notifying = 0;

  private constructor(
    path: string,
    fd: number,
    session: Session,
    maxWrite: number,
    via: "mount" | "fusermount3",
  ) {
    this.#via = via;
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
      // Each is closed as it was opened: one by Node.js, the other by another process.
      if (this.#via === "mount") closeSync(this.#fd);
      else closeFd(this.#fd);
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
    const via = options.via ?? (process.getuid?.() === 0 ? "mount" : "fusermount3");
    const session = new Session(backend, options);
    const fd =
      via === "mount"
        ? await mountDirectly(target, options)
        : await mountWithHelper(target, helperOptions(options));
    const mounted = new Mount(target, fd, session, options.maxWrite ?? 2 ** 20, via);
    backend.attachNotifier?.(mounted.notifier);
    return mounted;
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
      if (this.#via === "fusermount3") await unmountWithHelper(this.path, options.lazy === true);
      else await unmount(this.path, options.lazy === true ? MNT_DETACH : 0);
    } catch (cause) {
      // Someone else may have unmounted it meanwhile.
      const gone = cause instanceof SystemCallError && cause.code === "EINVAL";
      if (!gone && this.#open) throw cannotUnmount(cause, this.path);
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
      if (mount.#via === "mount") detachNow(mount.path);
      else detachWithHelperNow(mount.path);
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

async function mountDirectly(target: string, options: MountOptions): Promise<number> {
  const fd = openDevice();
  const source = options.source ?? "supermachine";
  try {
    const data = mountData(fd, options);
    await mountFileSystem(source, target, "fuse.supermachine", mountFlags(options), data);
    return fd;
  } catch (cause) {
    closeSync(fd);
    const denied = cause instanceof SystemCallError && cause.code === "EPERM";
    const advice = denied
      ? 'mounting needs root (CAP_SYS_ADMIN), or via: "fusermount3"'
      : "see the cause";
    const message = `cannot mount on ${target}: ${advice}`;
    throw new FuseMountError("ERR_FUSE_MOUNT_FAILED", message, { cause });
  }
}

/** The helper never lets ordinary users have set-user-id programs and devices. */
function helperOptions(options: MountOptions): string {
  const list = [`fsname=${options.source ?? "supermachine"}`, "subtype=supermachine"];
  if (options.readOnly === true) list.push("ro");
  if (options.noExec === true) list.push("noexec");
  if (options.allowSetuid !== true) list.push("nosuid");
  if (options.allowDevices !== true) list.push("nodev");
  if (options.allowOther === true) list.push("allow_other");
  if (options.defaultPermissions !== false) list.push("default_permissions");
  // A comma would start another option.
  return list.map((option) => option.replaceAll(/[\\,]/g, "\\$&")).join(",");
}

function cannotUnmount(cause: unknown, path: string): FuseMountError {
  const busy =
    (cause instanceof SystemCallError && cause.code === "EBUSY") ||
    (cause instanceof Error && /busy/.test(cause.message));
  return busy
    ? new FuseMountError(
        "ERR_FUSE_MOUNT_BUSY",
        `${path} is in use: see fuser -m ${path}, or unmount it lazily`,
        { cause },
      )
    : new FuseMountError("ERR_FUSE_MOUNT_UNMOUNT", `cannot unmount ${path}`, { cause });
}

/**
 * Mounts a backend on an existing directory. The files are served from this thread's event
 * loop: this process must never wait for them, or it waits for itself. That goes for `readFileSync` and
 * the like, and for starting a child process with its `cwd` or program inside the mount.
 *
 * Throws {@link FuseMountError}: `ERR_FUSE_MOUNT_PLATFORM`, `_POINT`, `_DEVICE`, `_HELPER`,
 * `_FAILED`.
 */
export function mount(
  backend: FsBackend,
  path: string,
  options: MountOptions = {},
): Promise<Mount> {
  return Mount.create(backend, path, options);
}
