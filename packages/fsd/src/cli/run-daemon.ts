import { type DaemonOptions, startDaemon } from "../daemon/daemon.js";
import { FsdError } from "../error.js";
import { backendOptions, type FsdFlags, groupId } from "./flags.js";
import { createLog, type Log } from "./log.js";

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
    threadPoolSize: flags.threadPoolSize,
    pollMs: flags.poll / 1000,
    readdirplus: flags.readdirplus,
    sandbox: flags.sandbox,
    seccomp: flags.seccomp,
    exitOnDisconnect: !flags.keepRunning,
    trace: flags.logLevel === "trace",
  };
}
