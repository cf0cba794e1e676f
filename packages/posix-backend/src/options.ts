import { PosixBackendError } from "./error.js";
import { RLIMIT_NOFILE } from "./syscalls/constants.js";
import { getrlimit } from "./syscalls/linux.js";
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
 * - `always`: for ever, absent names included; only for trees that nobody else changes.
 */
export type CachePolicy = "none" | "auto" | "always";

/** Options of `PosixBackend`. */
export interface PosixBackendOptions {
  /** Refuse every change with EROFS. Default false. */
  readonly readOnly?: boolean;
  /** Default `opaque`. */
  readonly symlinks?: SymlinkPolicy;
  /** Default `auto`. */
  readonly cache?: CachePolicy;
  /**
   * Let the client see and set extended attributes other than `user.*`: `security.*`, `trusted.*` and
   * `system.*`. With it, root in the client can give host programs file capabilities. Default false.
   */
  readonly privilegedXattrs?: boolean;
  /**
   * How many nodes the client may hold; each takes an fd. Beyond it, lookups of new nodes fail with ENFILE
   * until the client forgets others. Default: three quarters of the process's limit of fds.
   */
  readonly maxInodes?: number;
  /** How many files and directories may be open at once (ENFILE beyond). Default: an eighth of the limit. */
  readonly maxHandles?: number;
}

export type Settings = Required<PosixBackendOptions>;

const symlinkPolicies: readonly string[] = ["deny", "opaque", "follow"];
const cachePolicies: readonly string[] = ["none", "auto", "always"];

function fdLimit(): number {
  const limit = new Uint8Array(rlimitStruct.size);
  if (getrlimit(RLIMIT_NOFILE, limit) < 0) return 1024;
  return Math.min(Number(rlimitStruct.decode(limit).rlim_cur), 2 ** 30);
}

function countOption(name: string, value: number | undefined, byDefault: number): number {
  if (value === undefined) return byDefault;
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new PosixBackendError("ERR_POSIX_OPTION", `${name} is ${value}; give an integer above 0`);
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
  return {
    readOnly: options.readOnly ?? false,
    symlinks: choiceOption("symlinks", options.symlinks ?? "opaque", symlinkPolicies),
    cache: choiceOption("cache", options.cache ?? "auto", cachePolicies),
    privilegedXattrs: options.privilegedXattrs ?? false,
    maxInodes: countOption("maxInodes", options.maxInodes, Math.max(16, Math.floor(limit * 0.75))),
    maxHandles: countOption("maxHandles", options.maxHandles, Math.max(16, limit >> 3)),
  };
}
