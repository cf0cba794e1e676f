import type { SessionOptions } from "@supermachine/fuse-server";
import { FuseMountError } from "./error.js";
import { MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY } from "./native.js";

export interface MountOptions extends Omit<SessionOptions, "passthrough" | "hostKernel"> {
  /** What `findmnt` and `df` show as the source. Default `supermachine`. */
  readonly source?: string;
  /** The part of the file system's type after `fuse.`: letters, digits, `-` and `_`. Default `supermachine`. */
  readonly subtype?: string;
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
  /** The longest read in bytes, 4096 or more. Default: as the kernel likes, 1 MiB as a rule. */
  readonly maxRead?: number;
  /**
   * A small watching process (`sh`) unmounts when this one dies, even of SIGKILL. Without it such a
   * mount stays, dead, until the next {@link mount} on the same path clears it away. Default false.
   */
  readonly autoUnmount?: boolean;
  /**
   * Let the kernel read and write the host files that the backend names (`OpenReply.passthroughFd`)
   * by itself. Takes Linux 6.9 and root; where that is not given, or the file system of the files does
   * not allow it, or with `writebackCache`, the backend is asked as ever. Default true.
   */
  readonly passthrough?: boolean;
  /**
   * Who mounts: this process with mount(2), which takes root, or the set-user-id helper fusermount3(1)
   * of the fuse3 package. Default: the first for root, the second for others.
   */
  readonly via?: "mount" | "fusermount3";
}

/** What only makes sense for threads that do nothing but serve. */
export interface ThreadedMountOptions extends MountOptions {
  /**
   * Take requests through io_uring where the kernel offers it: Linux 6.14 with
   * `/sys/module/fuse/parameters/enable_uring` set; elsewhere it changes nothing. Experimental. Default
   * false.
   */
  readonly ioUring?: boolean;
}

const DEFAULT_NAME = "supermachine";

/** Throws {@link FuseMountError} `ERR_FUSE_MOUNT_OPTION`. */
export function checkOptions(options: MountOptions): void {
  const { subtype = DEFAULT_NAME, maxRead = 4096 } = options;
  if (!/^[\w-]{1,64}$/.test(subtype)) {
    const rule = "it must be up to 64 letters, digits, - and _";
    throw new FuseMountError("ERR_FUSE_MOUNT_OPTION", `subtype is ${subtype}; ${rule}`);
  }
  if (!Number.isInteger(maxRead) || maxRead < 4096) {
    const rule = "it must be a whole number of 4096 or more";
    throw new FuseMountError("ERR_FUSE_MOUNT_OPTION", `maxRead is ${maxRead}; ${rule}`);
  }
}

export function isPassthroughPossible(options: MountOptions): boolean {
  return (
    options.passthrough !== false &&
    options.writebackCache !== true &&
    mountsBy(options) === "mount"
  );
}

export function mountsBy(options: MountOptions): "mount" | "fusermount3" {
  return options.via ?? (process.getuid?.() === 0 ? "mount" : "fusermount3");
}

export function sourceName(options: MountOptions): string {
  return options.source ?? DEFAULT_NAME;
}

/** As the mount table shows it. */
export function fileSystemType(options: MountOptions): string {
  return `fuse.${options.subtype ?? DEFAULT_NAME}`;
}

/** The `mountflags` of mount(2). */
export function mountFlags(options: MountOptions): number {
  let flags = 0;
  if (options.readOnly === true) flags |= MS_RDONLY;
  if (options.allowSetuid !== true) flags |= MS_NOSUID;
  if (options.allowDevices !== true) flags |= MS_NODEV;
  if (options.noExec === true) flags |= MS_NOEXEC;
  return flags;
}

/** What the kernel's file system and the helper both understand. */
function commonOptions(options: MountOptions): string[] {
  const list: string[] = [];
  if (options.allowOther === true) list.push("allow_other");
  if (options.defaultPermissions !== false) list.push("default_permissions");
  if (options.maxRead !== undefined) list.push(`max_read=${options.maxRead}`);
  return list;
}

/** The `data` of mount(2). */
export function mountData(fd: number, options: MountOptions): string {
  const user = process.getuid?.() ?? 0;
  const group = process.getgid?.() ?? 0;
  const owner = [`fd=${fd}`, "rootmode=40000", `user_id=${user}`, `group_id=${group}`];
  return [...owner, ...commonOptions(options)].join(",");
}

/** The helper never lets ordinary users have set-user-id programs and devices. */
export function helperOptions(options: MountOptions): string {
  const subtype = options.subtype ?? DEFAULT_NAME;
  const list = [`fsname=${sourceName(options)}`, `subtype=${subtype}`, ...commonOptions(options)];
  if (options.readOnly === true) list.push("ro");
  if (options.noExec === true) list.push("noexec");
  if (options.allowSetuid !== true) list.push("nosuid");
  if (options.allowDevices !== true) list.push("nodev");
  // A comma would start another option.
  return list.map((option) => option.replaceAll(/[\\,]/g, "\\$&")).join(",");
}
