import { readFileSync } from "node:fs";
import type { PosixBackendOptions } from "@supermachine/posix-backend";
import { type DaemonOptions, startDaemon } from "../daemon/daemon.js";
import type { LogLevel, SandboxMode } from "../daemon/messages.js";
import { FsdError } from "../error.js";
import type { SeccompAction } from "../sandbox/seccomp.js";
import { createLog, type Log } from "./log.js";

/** The options of the command line, as parsed. */
export interface FsdFlags {
  readonly sharedDir?: string;
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
}

/** Runs a daemon until it ends, or a signal ends it. Resolves with the exit status. */
export async function runDaemon(flags: FsdFlags, name: string): Promise<number> {
  const log = createLog(name, flags.logLevel, flags.syslog);
  warnOfIgnored(flags, log);
  await using daemon = await startDaemon({ ...daemonOptions(flags), onLog: log });
  let stopping = false;
  const stop = (): void => {
    stopping = true;
    void daemon.close();
  };
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.once(signal, stop);
  log("info", `sharing ${flags.sharedDir} on ${daemon.socketPath}`);
  const { status, signal } = await daemon.exited;
  if (status === 0 || stopping) return 0;
  log("error", `the daemon ended with ${signal ?? `status ${status}`}`);
  return 1;
}

function warnOfIgnored(flags: FsdFlags, log: Log): void {
  if (flags.allowDirectIo) {
    log(
      "warn",
      "--allow-direct-io has no effect: O_DIRECT goes around the guest's page cache only",
    );
  }
  if (flags.preserveNoatime)
    log("warn", "--preserve-noatime has no effect: O_NOATIME stays in the guest");
  if (flags.threadPoolSize > 1) log("warn", "--thread-pool-size has no effect: one thread serves");
}

function daemonOptions(flags: FsdFlags): DaemonOptions {
  const { sharedDir, socketPath, fd, socketGroup, tag, modcaps, rlimitNofile } = flags;
  if (sharedDir === undefined) throw new FsdError("ERR_FSD_OPTION", "--shared-dir is missing");
  if ((socketPath === undefined) === (fd === undefined)) {
    throw new FsdError("ERR_FSD_OPTION", "give either --socket-path or --fd");
  }
  return {
    ...backendOptions(flags),
    sharedDir,
    ...(socketPath === undefined ? {} : { socketPath }),
    ...(fd === undefined ? {} : { socketFd: fd }),
    ...(socketGroup === undefined ? {} : { socketGroup: groupId(socketGroup) }),
    ...(tag === undefined ? {} : { tag }),
    ...(modcaps === undefined ? {} : { modcaps }),
    ...(rlimitNofile === undefined ? {} : { noFileLimit: rlimitNofile }),
    pollMs: flags.poll / 1000,
    readdirplus: flags.readdirplus,
    sandbox: flags.sandbox,
    seccomp: flags.seccomp,
    exitOnDisconnect: !flags.keepRunning,
    trace: flags.logLevel === "trace",
  };
}

function backendOptions(flags: FsdFlags): PosixBackendOptions {
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
function groupId(group: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  for (const line of readFileSync("/etc/group", "utf8").split("\n")) {
    const [name, , id] = line.split(":");
    if (name === group && id !== undefined) return Number(id);
  }
  throw new FsdError("ERR_FSD_OPTION", `there is no group ${group} in /etc/group`);
}
