/**
 * Run any OCI image as a hardware-isolated microVM.
 *
 * @packageDocumentation
 */

export type {
  LinuxSignal,
  ResourceLimit,
  ResourceLimits,
  ResourceName,
  StagedFile,
} from "@supermachine/guest";
export {
  type FileChange,
  type FileEntry,
  type FileOptions,
  type FileStat,
  type FileType,
  type FileWatcher,
  GuestFileError,
  type ReadFileOptions,
  type WriteFileOptions,
} from "@supermachine/guest";
export { ImageStore, type StoredImage } from "@supermachine/oci/image-store";
export type { MachineExit, MachineExitReason } from "@supermachine/vmm";
export { SupermachineError, type SupermachineErrorCode } from "./errors.js";
export type { ChainOptions, CommandOptions, ExecOptions, SpawnOptions } from "./exec.js";
export type { ExecResult, ExitResult } from "./exec-result.js";
export type { CopyOptions, VmFiles } from "./files/vm-files.js";
export { chooseHypervisor, type HypervisorChoice } from "./hypervisor/choice.js";
export type { HypervisorName } from "./hypervisor/remembered.js";
export { type HypervisorStatus, kvmStatus, qemuStatus } from "./hypervisor/status.js";
export {
  type BakedImage,
  type BakeOptions,
  Image,
  type ImagePoolOptions,
  type ImageVmOptions,
} from "./image.js";
export type {
  CachePolicy,
  EventOptions,
  HypervisorKind,
  LogEntry,
  LogOptions,
  LogSource,
  MachineEvent,
  MachineHealth,
  MachineStatus,
  SaveOptions,
  SymlinkPolicy,
  VmExit,
} from "./machine/config.js";
export type { VmDescription, VmParameters } from "./machine/description.js";
export type { MachineMetrics, MetricsOptions } from "./machine/metrics.js";
export type { LatencyMetrics } from "./metrics/latency-histogram.js";
export { toPrometheus, type VmMetrics } from "./metrics/prometheus.js";
export { Pool, PooledVm, type PoolOptions, type PoolSource } from "./pool/pool.js";
export type { AcquireOptions, PoolStats } from "./pool/resource-pool.js";
export type { ForkOptions, RestoreVmOptions } from "./snapshot/restore-options.js";
export { SnapshotStore, type StoredSnapshot } from "./snapshot/snapshot-store.js";
export { Vm } from "./vm.js";
export type { MainCommand, Mount, VmOptions } from "./vm-options.js";
export type { OutputChunk, VmProcess } from "./vm-process.js";
