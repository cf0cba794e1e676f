import { existsSync, mkdtempSync, rmdirSync } from "node:fs";
import { stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { closeFd, type ResourceStack } from "@supermachine-internal/libc";
import { FsdError } from "../error.js";
import { requireLinux } from "../platform.js";
import { keptCapabilities } from "../sandbox/capabilities.js";
import { listenAt } from "../socket-path.js";
import type { DaemonOptions } from "./daemon.js";
import type { LauncherData, SandboxMode } from "./messages.js";

/** Checks the options of a daemon, and puts what it takes of the system onto `resources`. */
export async function prepareLaunch(
  options: DaemonOptions,
  resources: ResourceStack,
): Promise<LauncherData> {
  requireLinux();
  const { sandbox: wanted, seccomp, modcaps, noFileLimit, exitOnDisconnect, trace } = options;
  const root = process.geteuid?.() === 0;
  const sandbox = wanted ?? (root ? "namespace" : "none");
  if (sandbox !== "none" && !root) throw notRoot(sandbox);
  const sharedDir = await directoryOf(options);
  const capabilities = [...keptCapabilities(modcaps)];
  const scratch = sandbox === "namespace" ? mkdtempSync(join(tmpdir(), "supermachine-fsd-")) : "";
  resources.defer(() => removeScratch(scratch));
  return {
    plan: {
      serve: backendOptions(options, sharedDir),
      sandbox,
      seccomp: seccomp ?? "kill",
      capabilities,
      noFileLimit,
      threadPoolSize: threadPoolSize(options),
      exitOnDisconnect: exitOnDisconnect ?? false,
      trace: trace ?? false,
    },
    socketFd: listen(options, resources),
    scratch,
    program: fileURLToPath(new URL("./daemon-process.js", import.meta.url)),
  };
}

/** libuv takes no more. */
const MOST_THREADS = 1024;

function threadPoolSize({ threadPoolSize: size = 4 }: DaemonOptions): number {
  if (Number.isInteger(size) && size >= 0 && size <= MOST_THREADS) return Math.max(1, size);
  throw new FsdError("ERR_FSD_OPTION", `a pool of ${size} threads: give 0 to ${MOST_THREADS}`);
}

/** Of use until the daemon has its new root; in this mount namespace it is empty all the time. */
export function removeScratch(path: string): void {
  if (path !== "" && existsSync(path)) rmdirSync(path);
}

function notRoot(sandbox: SandboxMode): FsdError {
  return new FsdError(
    "ERR_FSD_SANDBOX",
    `the sandbox "${sandbox}" needs root, if only in a user namespace (podman unshare, unshare -r); ` +
      'or choose "none"',
  );
}

/** Asynchronous, so that libuv has its threads: a thread with a process namespace could not start them. */
async function directoryOf({ sharedDir }: DaemonOptions): Promise<string> {
  const path = resolve(sharedDir);
  try {
    if ((await stat(path)).isDirectory()) return path;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FsdError("ERR_FSD_SHARE", `cannot share ${path}: ${reason}`, { cause });
  }
  throw new FsdError("ERR_FSD_SHARE", `cannot share ${path}: it is no directory`);
}

/** What is left of the options for the process that serves. */
function backendOptions(options: DaemonOptions, sharedDir: string): LauncherData["plan"]["serve"] {
  const { socketPath: _path, socketFd: _fd, socketGroup: _group, onLog: _log, ...rest } = options;
  if (options.sandbox !== "chroot") return { ...rest, sharedDir };
  // Linux reaches them by a path in /proc, where a chroot into the shared directory has none.
  if (options.xattr === true || options.posixAcl === true || options.xattrMap !== undefined) {
    throw new FsdError(
      "ERR_FSD_OPTION",
      'there are no extended attributes or ACLs in the sandbox "chroot"; choose another',
    );
  }
  return { ...rest, sharedDir, xattr: false };
}

/** The descriptor to listen on, which is closed when the daemon has ended. */
function listen(
  { socketPath, socketFd, socketGroup }: DaemonOptions,
  resources: ResourceStack,
): number {
  if (socketPath !== undefined && socketFd === undefined) {
    return resources.use(listenAt(socketPath, socketGroup)).fd;
  }
  if (socketFd === undefined || socketPath !== undefined) {
    throw new FsdError("ERR_FSD_OPTION", "give either a path or a descriptor of a socket");
  }
  resources.defer(() => closeFd(socketFd));
  return socketFd;
}
