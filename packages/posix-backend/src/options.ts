import { readFileSync } from "node:fs";
import { PosixBackendError } from "./error.js";
import { getrlimit, isPortable } from "./platform/host.js";
import { RLIMIT_NOFILE } from "./syscalls/constants.js";
import { rlimitStruct } from "./syscalls/structs.js";

/**
 * What a client may do with symbolic links.
 *
 * - `deny`: it sees those that exist, as links, but makes neither symbolic nor hard links (EPERM).
 * - `opaque`: links are bytes that the client's own kernel resolves, in the client's own tree.
 * - `follow`: a link whose target is inside the root is presented as its target, and only links that are
 *   broken, absolute or lead outside are presented as links.
 *
 * No policy makes the host resolve a link to anything outside the root.
 */
export type SymlinkPolicy = "deny" | "opaque" | "follow";

/**
 * How long a client may trust what it has seen, which matters when the host changes the tree meanwhile.
 *
 * - `none`: asks every time; a file's pages are dropped at each open.
 * - `auto`: names and attributes for one second; a file's pages are dropped at each open.
 * - `metadata`: names and attributes for ever, absent names included; data is never cached.
 * - `always`: all of it for ever; only for trees that nobody else changes.
 */
export type CachePolicy = "none" | "auto" | "metadata" | "always";

/**
 * Whether inodes are kept as file handles (`name_to_handle_at(2)`), which take no fd. Opening them needs
 * CAP_DAC_READ_SEARCH.
 *
 * - `never`: inodes take an fd each, while `maxFds` lasts; further ones are found again by their last name.
 * - `prefer`: as handles where the file system has them and the process may open them, else as `never`.
 * - `mandatory`: fail where that is not so.
 */
export type InodeFileHandles = "never" | "prefer" | "mandatory";

/** Options of `PosixBackend`. All are plain data, so that they can be posted to other threads. */
export interface PosixBackendOptions {
  /** Refuse every change with EROFS. Default false. */
  readonly readOnly?: boolean;
  /** Default `opaque`. */
  readonly symlinks?: SymlinkPolicy;
  /** Default `auto`. */
  readonly cache?: CachePolicy;
  /** How long names may be cached, in milliseconds; `Infinity` for ever. Default: as `cache` says. */
  readonly entryTimeoutMs?: number;
  /** How long attributes may be cached, in milliseconds. Default: as `cache` says. */
  readonly attrTimeoutMs?: number;
  /** How long the absence of a name may be cached, in milliseconds. Default: as `cache` says. */
  readonly negativeTimeoutMs?: number;
  /**
   * Let the client's kernel collect writes, if it offers to (`FUSE_WRITEBACK_CACHE`): faster, and wrong when
   * anything else writes to the files. Default false.
   */
  readonly writeback?: boolean;
  /** Answer extended attribute requests at all; without, the client sees none. Default true. */
  readonly xattr?: boolean;
  /**
   * Let the client see and set extended attributes other than `user.*`: `security.*`, `trusted.*` and
   * `system.*`. With it, root in the client can give host programs file capabilities. Default: only where
   * the client is the kernel of this host, which asks for the privileges that this takes.
   */
  readonly privilegedXattrs?: boolean;
  /**
   * How names of extended attributes are translated, in the rule language of virtiofsd's `--xattrmap`. The
   * rules then say what the client may see and set, in place of `privilegedXattrs`. Default: no mapping.
   */
  readonly xattrMap?: string;
  /** Keep and apply POSIX access control lists (`FUSE_POSIX_ACL`). Default false. */
  readonly posixAcl?: boolean;
  /**
   * How user ids are translated, each rule in the form of virtiofsd's `--translate-uid`: `map:0:100000:65536`,
   * `guest:`, `host:`, `squash-guest:`, `squash-host:`, `forbid-guest:`. Default: not at all.
   */
  readonly translateUid?: readonly string[];
  /** As {@link PosixBackendOptions.translateUid}, for group ids. */
  readonly translateGid?: readonly string[];
  /**
   * Show directories on which the host has mounted something as mount points to the client
   * (`FUSE_ATTR_SUBMOUNT`), so that inode numbers stay unique per device there. Default false.
   */
  readonly announceSubmounts?: boolean;
  /** Default `prefer`. */
  readonly inodeFileHandles?: InodeFileHandles;
  /**
   * Take POSIX record locks and flock(2) locks on the host's files too, so that programs of the host and
   * other clients see them. Default false: they hold between the programs of this client.
   */
  readonly locks?: boolean;
  /**
   * Let the client make device nodes. It never opens any through this backend, but what it makes is a
   * device for those who reach the directory on the host. Default: only where the client is the
   * kernel of this host, which lets root alone make them. Whiteouts (character device 0, 0) are always
   * allowed.
   */
  readonly devices?: boolean;
  /** Clear set-id bits as the host's kernel does (`FUSE_HANDLE_KILLPRIV_V2`). Default true. */
  readonly killpriv?: boolean;
  /**
   * Tell the client what the host changes, where the transport can carry it (/dev/fuse can): then long
   * timeouts are safe. Where nothing tells, the client trusts nothing for more than a second. Default false.
   */
  readonly watch?: boolean;
  /**
   * How many directories `watch` may watch; once there are more, what the client is told holds for a
   * second. Default: three quarters of fs.inotify.max_user_watches.
   */
  readonly maxWatches?: number;
  /**
   * How many nodes the client may hold, up to 16 million: beyond it lookups of new ones fail with ENFILE.
   * Each takes some 80 bytes, once it is looked up. Default 4,000,000.
   */
  readonly maxInodes?: number;
  /**
   * How many files and directories may be open at once (ENFILE beyond). Each takes an fd. Default: a quarter
   * of the process's limit of fds.
   */
  readonly maxHandles?: number;
  /**
   * How many fds nodes may take beside open files; a node in use that has none is opened again. On macOS as many
   * directories may be open as well. Default: half of the process's limit (on macOS a quarter), and at most 32,768.
   */
  readonly maxFds?: number;
}

export type Settings = Required<
  Omit<PosixBackendOptions, "privilegedXattrs" | "xattrMap" | "devices">
> &
  Pick<PosixBackendOptions, "xattrMap"> & {
    /** Undefined: as the client's kind says. */
    readonly privilegedXattrs: boolean | undefined;
    readonly devices: boolean | undefined;
  };

const symlinkPolicies: readonly string[] = ["deny", "opaque", "follow"];
const cachePolicies: readonly string[] = ["none", "auto", "metadata", "always"];
const MAX_INODES = 4_000_000;
const MAX_HANDLES = 2 ** 20;
/** Each keeps an inode of the host in memory, some kilobytes. */
const MAX_FDS = 32_768;

const handlePolicies: readonly string[] = ["never", "prefer", "mandatory"];

/** For names and attributes; and for names that are absent. */
const cacheTimes: Record<CachePolicy, readonly [number, number]> = {
  none: [0, 0],
  auto: [1000, 0],
  metadata: [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
  always: [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
};

function fdLimit(): number {
  const limit = new Uint8Array(rlimitStruct.size);
  if (getrlimit(RLIMIT_NOFILE, limit) < 0) return 1024;
  return Math.min(Number(rlimitStruct.decode(limit).rlim_cur), 2 ** 30);
}

function watchLimit(): number {
  try {
    const limit = Number(readFileSync("/proc/sys/fs/inotify/max_user_watches", "latin1"));
    return Math.max(16, Math.floor(limit * 0.75));
  } catch {
    // A kernel without inotify, where watching fails anyway.
    return 16;
  }
}

function countOption(name: string, value: number | undefined, byDefault: number): number {
  if (value === undefined) return byDefault;
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new PosixBackendError("ERR_POSIX_OPTION", `${name} is ${value}; give an integer above 0`);
}

function timeOption(name: string, value: number | undefined, byDefault: number): number {
  if (value === undefined) return byDefault;
  if (value >= 0) return value;
  throw new PosixBackendError(
    "ERR_POSIX_OPTION",
    `${name} is ${value}; give milliseconds, 0 or more`,
  );
}

function choiceOption<T extends string>(name: string, value: T, choices: readonly string[]): T {
  if (choices.includes(value)) return value;
  throw new PosixBackendError(
    "ERR_POSIX_OPTION",
    `${name} is ${JSON.stringify(value)}; use one of ${choices.join(", ")}`,
  );
}

/** Checks options and fills in defaults. Throws `PosixBackendError` `ERR_POSIX_OPTION`. */
export function settingsOf(options: PosixBackendOptions): Settings {
  const limit = fdLimit();
  // Where there is no O_PATH, a node may keep its directory open as well.
  const forNodes = isPortable ? limit >> 2 : limit >> 1;
  const cache = choiceOption("cache", options.cache ?? "auto", cachePolicies);
  const [valid, negative] = cacheTimes[cache];
  return {
    readOnly: options.readOnly ?? false,
    symlinks: choiceOption("symlinks", options.symlinks ?? "opaque", symlinkPolicies),
    cache,
    entryTimeoutMs: timeOption("entryTimeoutMs", options.entryTimeoutMs, valid),
    attrTimeoutMs: timeOption("attrTimeoutMs", options.attrTimeoutMs, valid),
    negativeTimeoutMs: timeOption("negativeTimeoutMs", options.negativeTimeoutMs, negative),
    writeback: options.writeback ?? false,
    xattr: options.xattr ?? true,
    privilegedXattrs: options.privilegedXattrs,
    ...(options.xattrMap === undefined ? {} : { xattrMap: options.xattrMap }),
    posixAcl: options.posixAcl ?? false,
    translateUid: options.translateUid ?? [],
    translateGid: options.translateGid ?? [],
    announceSubmounts: options.announceSubmounts ?? false,
    inodeFileHandles: choiceOption(
      "inodeFileHandles",
      options.inodeFileHandles ?? "prefer",
      handlePolicies,
    ),
    locks: options.locks ?? false,
    devices: options.devices,
    killpriv: options.killpriv ?? true,
    watch: options.watch ?? false,
    maxWatches: countOption("maxWatches", options.maxWatches, watchLimit()),
    maxInodes: countOption("maxInodes", options.maxInodes, MAX_INODES),
    maxHandles: countOption(
      "maxHandles",
      options.maxHandles,
      Math.max(16, Math.min(limit >> 2, MAX_HANDLES)),
    ),
    maxFds: countOption("maxFds", options.maxFds, Math.max(16, Math.min(forNodes, MAX_FDS))),
  };
}
