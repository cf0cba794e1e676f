import { readFileSync } from "node:fs";
import type { PosixBackendOptions } from "@supermachine/posix-backend";
import type { LogLevel, SandboxMode } from "../daemon/messages.js";
import { FsdError } from "../error.js";
import type { SeccompAction } from "../sandbox/seccomp.js";

/** The options of the command line, as parsed. */
export interface FsdFlags {
  readonly sharedDir?: string;
  readonly root: readonly string[];
  readonly readonlyRoot: readonly string[];
  readonly socketPath?: string;
  readonly fd?: number;
  readonly socketGroup?: string;
  readonly tag?: string;
  readonly cache: "auto" | "always" | "metadata" | "never" | "none";
  readonly timeout?: number;
  readonly readonly: boolean;
  readonly writeback: boolean;
  readonly xattr: boolean;
  readonly xattrmap?: string;
  readonly privilegedXattrs: boolean;
  readonly posixAcl: boolean;
  readonly translateUid: readonly string[];
  readonly translateGid: readonly string[];
  readonly announceSubmounts: boolean;
  readonly inodeFileHandles: "never" | "prefer" | "mandatory";
  readonly readdirplus: boolean;
  readonly locks: boolean;
  readonly killprivV2: boolean;
  readonly allowDirectIo: boolean;
  readonly preserveNoatime: boolean;
  readonly threadPoolSize: number;
  readonly sandbox: SandboxMode;
  readonly seccomp: SeccompAction;
  readonly modcaps?: string;
  readonly rlimitNofile?: number;
  readonly logLevel: LogLevel | "off";
  readonly syslog: boolean;
  readonly poll: number;
  readonly keepRunning: boolean;
  readonly printCapabilities: boolean;
  readonly maxClients?: number;
  readonly maxOpenFiles?: number;
  readonly maxInodes?: number;
  readonly maxPending?: number;
  readonly maxPendingBytes?: number;
  readonly maxUnsentBytes?: number;
  readonly stall?: number;
}

/** How directories are served, whoever the clients are. */
export function backendOptions(flags: FsdFlags): PosixBackendOptions {
  const { cache, xattrmap, timeout, posixAcl } = flags;
  const times = timeout === undefined ? undefined : timeout * 1000;
  return {
    cache: cache === "never" ? "none" : cache,
    ...(times === undefined ? {} : { entryTimeoutMs: times, attrTimeoutMs: times }),
    readOnly: flags.readonly,
    writeback: flags.writeback,
    xattr: flags.xattr || flags.privilegedXattrs || posixAcl || xattrmap !== undefined,
    ...(xattrmap === undefined ? {} : { xattrMap: xattrmap }),
    privilegedXattrs: flags.privilegedXattrs,
    posixAcl,
    translateUid: flags.translateUid,
    translateGid: flags.translateGid,
    announceSubmounts: flags.announceSubmounts,
    inodeFileHandles: flags.inodeFileHandles,
    locks: flags.locks,
    killpriv: flags.killprivV2,
  };
}

/** The id of a group by name or number. */
export function groupId(group: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  for (const line of readFileSync("/etc/group", "utf8").split("\n")) {
    const [name, , id] = line.split(":");
    if (name === group && id !== undefined) return Number(id);
  }
  throw new FsdError("ERR_FSD_OPTION", `there is no group ${group} in /etc/group`);
}
