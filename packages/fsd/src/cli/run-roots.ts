import { takeShortTurns } from "@supermachine-internal/libc";
import { practiseServing } from "../daemon/practice.js";
import { FsdError } from "../error.js";
import { makeRoomForFiles } from "../sandbox/descriptors.js";
import { raiseFileLimit } from "../sandbox/file-limit.js";
import { type RootOptions, type ServeRootsOptions, serveRoots } from "../serve-roots.js";
import { backendOptions, type FsdFlags, groupId } from "./flags.js";
import { createLog, type Log } from "./log.js";

/** Serves roots to many clients until a signal ends it. Resolves with the exit status. */
export async function runRoots(flags: FsdFlags, name: string): Promise<number> {
  const log = createLog(name, flags.logLevel, flags.syslog);
  const options = rootsOptions(flags, log);
  raiseFileLimit(0, flags.rlimitNofile);
  const ended = new Promise<void>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.once(signal, () => resolve());
  });
  practiseServing();
  makeRoomForFiles();
  takeShortTurns();
  await using server = await serveRoots(options);
  const names = Object.keys(options.roots).join(", ");
  log("info", `sharing ${names} on ${server.socketPath}, without isolation`);
  await ended;
  return 0;
}

function rootsOptions(flags: FsdFlags, log: Log): ServeRootsOptions {
  const { socketPath, socketGroup, stall } = flags;
  if (socketPath === undefined) throw new FsdError("ERR_FSD_OPTION", "--socket-path is missing");
  const limits = {
    maxClients: flags.maxClients,
    maxHandles: flags.maxOpenFiles,
    maxInodes: flags.maxInodes,
    maxPending: flags.maxPending,
    maxPendingBytes: flags.maxPendingBytes,
    maxUnsentBytes: flags.maxUnsentBytes,
    stallMs: stall === undefined ? undefined : stall * 1000,
  };
  const given = Object.entries(limits).filter(([, limit]) => limit !== undefined);
  return {
    ...(Object.fromEntries(given) as Partial<ServeRootsOptions>),
    socketPath,
    ...(socketGroup === undefined ? {} : { socketGroup: groupId(socketGroup) }),
    roots: rootsOf(flags),
    logger: {
      warn: (message, cause) =>
        log("warn", cause === undefined ? message : `${message}: ${String(cause)}`),
      ...(flags.logLevel === "trace" ? { trace: (line: string) => log("trace", line) } : {}),
    },
  };
}

function rootsOf(flags: FsdFlags): Record<string, RootOptions> {
  const options = backendOptions(flags);
  const roots = new Map<string, RootOptions>();
  for (const [list, readOnly] of [
    [flags.root, flags.readonly],
    [flags.readonlyRoot, true],
  ] as const) {
    for (const text of list) {
      const [name, dir] = nameAndDirectory(text);
      if (roots.has(name)) {
        throw new FsdError("ERR_FSD_OPTION", `there are two roots with the name ${name}`);
      }
      roots.set(name, { ...options, dir, readOnly });
    }
  }
  return Object.fromEntries(roots);
}

function nameAndDirectory(text: string): [name: string, directory: string] {
  const [, name = "", directory] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  if (directory === undefined) {
    throw new FsdError("ERR_FSD_OPTION", `give a root as NAME=DIRECTORY, not ${text}`);
  }
  return [name, directory];
}
