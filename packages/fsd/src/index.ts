/**
 * Host directories served to virtual machines over vhost-user, as virtiofsd does, and to programs over a
 * Unix socket.
 *
 * @packageDocumentation
 */
export { Daemon, type DaemonExit, type DaemonOptions, startDaemon } from "./daemon/daemon.js";
export type { LogLevel, SandboxMode } from "./daemon/messages.js";
export { FsdError, type FsdErrorCode } from "./error.js";
export type { SeccompAction } from "./sandbox/seccomp.js";
export {
  type DirectoryServer,
  type ServeDirectoryOptions,
  serveDirectory,
} from "./serve-directory.js";
export {
  type ClientLimits,
  type RootOptions,
  RootsServer,
  type RootsUsage,
  type ServeRootsOptions,
  serveRoots,
} from "./serve-roots.js";
