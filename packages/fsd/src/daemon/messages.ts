import type { SeccompAction } from "../sandbox/seccomp.js";
import type { ServeDirectoryOptions } from "../serve-directory.js";

/**
 * How the daemon is kept from the rest of the system.
 *
 * - `namespace`: it has mount, process, network, IPC and UTS namespaces of its own, and a root
 *   directory with nothing but the shared one and its own /proc entry. Needs root.
 * - `chroot`: the shared directory is its root directory; for containers that have namespaces
 *   already. Needs root.
 * - `none`: neither.
 */
export type SandboxMode = "namespace" | "chroot" | "none";

/** Of decreasing severity; `trace` has one line per request and reply. */
export type LogLevel = "error" | "warn" | "info" | "debug" | "trace";

/** What the launcher and the daemon's process need to know. Plain data: it is sent to them. */
export interface DaemonPlan {
  readonly serve: Omit<ServeDirectoryOptions, "logger" | "socketPath" | "socketFd" | "socketGroup">;
  readonly sandbox: SandboxMode;
  readonly seccomp: SeccompAction;
  /** Numbers of the capabilities to keep. */
  readonly capabilities: readonly number[];
  readonly noFileLimit: number | undefined;
  readonly threadPoolSize: number;
  readonly exitOnDisconnect: boolean;
  readonly trace: boolean;
}

/** From the one that starts the daemon to its launcher thread. */
export interface LauncherData {
  readonly plan: DaemonPlan;
  readonly socketFd: number;
  /** Where the new root directory is put together, in `namespace` mode. */
  readonly scratch: string;
  readonly program: string;
}

/** From the launcher to the daemon's process. */
export type ToDaemon =
  | { readonly type: "prepare"; readonly plan: DaemonPlan }
  /** The sandbox stands: go on in it, with the directory where it is now. */
  | { readonly type: "serve"; readonly sharedDir: string };

/** From the daemon's process to the launcher. */
export type FromDaemon =
  | { readonly type: "prepared" }
  | { readonly type: "serving" }
  | { readonly type: "log"; readonly level: LogLevel; readonly message: string }
  | { readonly type: "failed"; readonly code: string; readonly message: string };

/** From the launcher thread to the one that started it. */
export type FromLauncher =
  | FromDaemon
  | { readonly type: "started"; readonly pid: number }
  | { readonly type: "ended"; readonly code: number | null; readonly signal: string | null };
