/**
 * Guest kernel configuration and build, the guest agent, initramfs writer, and the host side of the agent
 * protocol.
 *
 * @packageDocumentation
 */
export { AgentClient, type OutputOptions, type RunRequest } from "./agent-client.js";
export { type AcceptAgainOptions, type AcceptOptions, AgentControl } from "./agent-control.js";
export type { Patience } from "./answer-watch.js";
export {
  type EnsureOptions,
  ensureAgent,
  ensureInitramfs,
  ensureKernel,
  findAgent,
  findKernel,
} from "./assets.js";
export { cacheDirectory } from "./cache-directory.js";
export {
  type CommandLineOptions,
  type GuestDisk,
  type GuestShare,
  kernelCommandLine,
} from "./command-line.js";
export type { VsockConnector } from "./connector.js";
export type { Hello } from "./control-connection.js";
export { type InitramfsEntry, writeInitramfs } from "./cpio.js";
export { AgentError, GuestAssetError, GuestError, type GuestErrorCode } from "./errors.js";
export type { ExitStatus } from "./exec-connection.js";
export type { ChainRequest, ExecOptions, ExecRequest, TerminalSize } from "./exec-request.js";
export { GuestFileError } from "./files/file-error.js";
export type { FileEntry, FileStat, FileType } from "./files/file-record.js";
export type { FileChange, FileWatcher } from "./files/file-watcher.js";
export {
  type BuiltinStarter,
  type FileOptions,
  GuestFiles,
  type ReadFileOptions,
  type WriteFileOptions,
} from "./files/guest-files.js";
export { CONTROL_PORT, EXEC_PORT, PROTOCOL_VERSION } from "./frames.js";
export { GuestProcess, type ProcessOutput } from "./guest-process.js";
export { buildInitramfs } from "./initramfs.js";
export { LINUX_SIGNALS, type LinuxSignal } from "./linux-signals.js";
export type { ResourceLimit, ResourceLimits, ResourceName } from "./resource-limits.js";
export type { StagedFile } from "./staged-files.js";
export { randomMachineId, type SyncOptions } from "./sync-request.js";
