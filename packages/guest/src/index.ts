/**
 * Guest kernel configuration and build, the guest agent, initramfs writer, and the host side of the agent
 * protocol.
 *
 * @packageDocumentation
 */
export { AgentClient, type FileOptions, type RunRequest } from "./agent-client.js";
export { type AcceptOptions, AgentControl } from "./agent-control.js";
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
export type { ExecRequest, TerminalSize } from "./exec-request.js";
export { CONTROL_PORT, EXEC_PORT, PROTOCOL_VERSION } from "./frames.js";
export { type ExitStatus, GuestProcess, type ProcessOutput } from "./guest-process.js";
export { buildInitramfs } from "./initramfs.js";
export { randomMachineId, type SyncOptions } from "./sync-request.js";
