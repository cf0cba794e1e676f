import { closeSync, constants, openSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { FUSE_DEV_IOC_CLONE } from "@supermachine/fuse-protocol";
import { check, closeFd, SystemCallError } from "@supermachine-internal/libc";
import { AutoUnmount } from "./auto-unmount.js";
import { FuseMountError } from "./error.js";
import { detachWithHelperNow, mountWithHelper, unmountWithHelper } from "./fusermount.js";
import {
  checkOptions,
  fileSystemType,
  helperOptions,
  type MountOptions,
  mountData,
  mountFlags,
  mountsBy,
  sourceName,
} from "./mount-options.js";
import { resolveMountPoint } from "./mount-point.js";
import { mountedAt } from "./mount-table.js";
import {
  detachNow,
  ioctl,
  MNT_DETACH,
  MNT_FORCE,
  mountFileSystem,
  unmount,
  writeAside,
} from "./native.js";

/**
 * A connection to the kernel's FUSE file system, mounted, without anyone who serves it: the /dev/fuse
 * descriptor and the mount point.
 */
export class KernelMount {
  /** The mount point. */
  readonly path: string;
  /** The connection's device, non-blocking. */
  readonly fd: number;
  readonly #via: "mount" | "fusermount3";
  /** `major:minor`, unless someone has unmounted it already. */
  readonly #device: string | undefined;
  readonly #clones: number[] = [];
  #autoUnmount: AutoUnmount | undefined;
  #open = true;
  #writing = 0;

  private constructor(path: string, fd: number, via: "mount" | "fusermount3") {
    this.path = path;
    this.fd = fd;
    this.#via = via;
    this.#device = mountedAt(path)?.device;
  }

  /** Mounts on an existing directory. Throws {@link FuseMountError}. */
  static async create(path: string, options: MountOptions): Promise<KernelMount> {
    checkOptions(options);
    const via = mountsBy(options);
    const target = await resolveMountPoint(path, fileSystemType(options), (stale) =>
      via === "mount" ? unmount(stale, MNT_DETACH) : unmountWithHelper(stale, true),
    );
    const fd =
      via === "mount"
        ? await mountDirectly(target, options)
        : await mountWithHelper(target, helperOptions(options));
    const mounted = new KernelMount(target, fd, via);
    try {
      if (options.autoUnmount === true) await mounted.#watchOver();
      return mounted;
    } catch (error) {
      mounted.abandonNow();
      throw error;
    }
  }

  async #watchOver(): Promise<void> {
    if (this.#device === undefined) return;
    this.#autoUnmount = await AutoUnmount.start(this.path, this.#device, this.#via);
  }

  /**
   * Another descriptor of the same connection, for another thread: closed with this. A reply must go
   * to the descriptor that its request came from.
   */
  clone(): number {
    const fd = openDevice();
    this.#clones.push(fd);
    const original = Buffer.alloc(4);
    original.writeUInt32LE(this.fd);
    check(ioctl(fd, FUSE_DEV_IOC_CLONE, "void *", original), "ioctl(FUSE_DEV_IOC_CLONE)");
    return fd;
  }

  /** Writes a notification on a thread of the pool. */
  async notify(message: Uint8Array): Promise<void> {
    if (!this.#open) return;
    this.#writing++;
    try {
      await writeAside(this.fd, message);
    } finally {
      this.#writing--;
      this.#closeDevice();
    }
  }

  /**
   * Takes the mount out of the tree. Throws {@link FuseMountError}. Resolves without having done so when
   * that takes longer than `timeoutMs`, which means that the kernel waits for the server: then only
   * closing the device helps.
   */
  async unmount(lazy: boolean, timeoutMs: number): Promise<void> {
    // MNT_FORCE ends all that is under way first, so that nothing waits for a server that is stuck.
    const done =
      this.#via === "fusermount3"
        ? unmountWithHelper(this.path, lazy)
        : unmount(this.path, lazy ? MNT_FORCE | MNT_DETACH : 0);
    const late = new AbortController();
    const giveUp = delay(timeoutMs, undefined, { signal: late.signal }).catch(() => {});
    try {
      await Promise.race([done, giveUp]);
    } catch (cause) {
      // Someone else may have unmounted it meanwhile.
      const gone = cause instanceof SystemCallError && cause.code === "EINVAL";
      if (!gone && this.#open) throw cannotUnmount(cause, this.path);
    } finally {
      late.abort();
      done.catch(() => {});
    }
  }

  /** Has the kernel fail all that is under way, if the control file system is there for that. */
  #abort(): void {
    const minor = this.#device?.split(":")[1];
    if (minor === undefined) return;
    try {
      writeFileSync(`/sys/fs/fuse/connections/${minor}/abort`, "1");
    } catch {
      // Not mounted here, or gone already: closing the last descriptor does the same.
    }
  }

  /** Closes the device: unless unmounted, the mount is dead then. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#autoUnmount?.close();
    // A notification may wait for a page that the server is to deliver.
    if (this.#writing > 0) this.#abort();
    // Opened by Node.js, and so closed.
    for (const clone of this.#clones) closeSync(clone);
    this.#closeDevice();
  }

  /** Not while another thread writes to it: the number could be another file's by then. */
  #closeDevice(): void {
    if (this.#open || this.#writing > 0) return;
    // Each is closed as it was opened: one by Node.js, the other by another process.
    if (this.#via === "mount") closeSync(this.fd);
    else closeFd(this.fd);
  }

  /** For the end of the process: ends all that is under way, and the mount. */
  abandonNow(): void {
    if (this.#via === "mount") {
      detachNow(this.path);
      this.close();
    } else {
      // The helper looks at the mount, which only works once that does not wait for this process.
      this.close();
      detachWithHelperNow(this.path);
    }
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

async function mountDirectly(target: string, options: MountOptions): Promise<number> {
  const fd = openDevice();
  try {
    const data = mountData(fd, options);
    const type = fileSystemType(options);
    await mountFileSystem(sourceName(options), target, type, mountFlags(options), data);
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
