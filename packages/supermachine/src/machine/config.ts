import type { VsockConnector } from "@supermachine/guest";
import type { MachineExit } from "@supermachine/vmm";
import type { ExitResult } from "../exec-result.js";
import type { MachineMetrics, MetricsOptions } from "./metrics.js";

/** What runs a machine. */
export type HypervisorKind = "kvm" | "qemu";

/** How a share presents symbolic links: see `@supermachine/posix-backend`. */
export type SymlinkPolicy = "deny" | "opaque" | "follow";

/** For how long the guest trusts what it has seen of a share: see `@supermachine/posix-backend`. */
export type CachePolicy = "none" | "auto" | "metadata" | "always";

/**
 * Which files of a share the guest maps instead of reading them: none, those for which it pays (as the
 * host marks them), or all.
 */
export type DaxPolicy = "never" | "inode" | "always";

/** A host directory that the guest sees over virtio-fs. */
export interface Share {
  /** Virtio-fs tag. */
  readonly tag: string;
  /** Absolute path of the host directory. */
  readonly host: string;
  readonly readOnly: boolean;
  readonly symlinks: SymlinkPolicy;
  readonly cache: CachePolicy;
  readonly dax: DaxPolicy;
  readonly daxWindowMiB: number;
}

/** Everything needed to run a machine, as plain data: it may be built in another process. */
export interface MachineConfig {
  readonly memoryMiB: number;
  readonly cpus: number;
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: string;
  /** Path of the EROFS image of the root file system. */
  readonly rootfs: string;
  readonly shares: readonly Share[];
  /** How long the guest may take until its agent answers, in milliseconds. */
  readonly bootTimeoutMs: number;
  /** What the machine was made of, for a snapshot to be made a machine of again. */
  readonly provenance: Provenance;
  /** Host name in the guest, which one that goes on from a snapshot is given anew. */
  readonly hostname: string;
  /** Runs when the guest is up. The machine ends when it does. */
  readonly command?: MainCommandConfig;
  /** Goes on from a snapshot of a machine with the same configuration instead of booting. */
  readonly restore?: RestoreConfig;
}

/** What a machine was made of. */
export interface Provenance {
  readonly image: { readonly name: string; readonly digest: string };
  /** Kernel and initial RAM disk: see `guestIdentity`. */
  readonly guest: string;
  readonly env: Readonly<Record<string, string>>;
}

/** A machine's own command: see `ExecRequest` of `@supermachine/guest`. */
export interface MainCommandConfig {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly user?: string;
  readonly timeoutMs?: number;
}

/** The snapshot from which a machine goes on. */
export interface RestoreConfig {
  readonly directory: string;
  /** Compares all memory with its checksums first, see `Machine.restore` of `@supermachine/vmm`. Default true. */
  readonly verifyMemory?: boolean;
}

/** What a {@link BareMachine} tells while it runs. */
export interface MachineListener {
  /** The machine's vsock exists, and its guest does not run yet: the time to listen. */
  onVsock(vsock: VsockConnector): void;
  /** The guest printed on its console. */
  onConsole(bytes: Uint8Array): void;
  /** A device stopped serving the guest: its driver broke the protocol. */
  onDeviceFailure(reason: Error): void;
}

/** Options of {@link RunningMachine.save}. */
export interface SaveOptions {
  /** Directory of an earlier snapshot of the same machine: only what differs from it is written. */
  readonly base?: string;
}

/** Options of {@link BareMachine.save}. */
export interface BareSaveOptions extends SaveOptions {
  /** Kept with the snapshot. */
  readonly metadata: string;
}

/** What runs a guest, knowing nothing of what runs inside: one of the hypervisors. */
export interface BareMachine {
  /** Settles when the machine has ended and released everything. Never rejects. */
  readonly exited: Promise<MachineExit>;
  /** The last lines of the guest's console, oldest first. */
  consoleLines(): readonly string[];
  /** Ends the machine at once. Idempotent. */
  stop(): Promise<MachineExit>;
  /** Stops the vCPUs until {@link resume}. Idempotent. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Makes it what it was when it went on from its snapshot, and leaves it paused. */
  revert(): Promise<void>;
  /** Writes a snapshot into a new directory. The vCPUs wait while it is taken. */
  save(directory: string, options: BareSaveOptions): Promise<void>;
  metrics(options: MetricsOptions): Promise<MachineMetrics>;
  /** Lets the guest have that much of its memory, in MiB. */
  setMemoryTarget(memoryMiB: number): Promise<void>;
}

/** The end of a machine. */
export interface VmExit extends MachineExit {
  /** How its own command ended, if it had one and that was seen to end. */
  readonly command?: ExitResult;
}

/** What a machine is doing. */
export type MachineStatus = "starting" | "running" | "paused" | "stopped";

/** Whether a machine's guest answers. */
export interface MachineHealth {
  readonly status: MachineStatus;
  /** The guest's agent answered within the time given. A paused guest does not. */
  readonly answering: boolean;
  /** Round trip to the agent in milliseconds, if it answered. */
  readonly latencyMs?: number;
}

/** A piece of what a machine printed. */
export interface LogEntry {
  /** Where to go on after this entry: see {@link LogOptions.since}. */
  readonly cursor: number;
  /** Milliseconds since the epoch, by the host's clock. */
  readonly time: number;
  readonly source: LogSource;
  /** As it came, decoded as UTF-8: not necessarily a whole line. */
  readonly text: string;
}

/** What printed: the guest's console (its kernel and its agent), or the machine's own command. */
export type LogSource = "console" | "stdout" | "stderr";

/** Options of {@link RunningMachine.logs}. */
export interface LogOptions {
  /** Cursor of the last entry seen. Default 0: from the oldest entry that is kept. */
  readonly since?: number;
  /** Waits for more instead of ending after the last entry, until the machine has ended. Default false. */
  readonly follow?: boolean;
  /** Default: all sources. */
  readonly source?: LogSource;
  /** Ends the iteration, without an error. */
  readonly signal?: AbortSignal;
}

/** Something that happened to a machine. That its guest stops to answer is noticed within 15 seconds. */
export type MachineEvent = {
  /** Milliseconds since the epoch, by the host's clock. */
  readonly time: number;
} & (
  | {
      readonly type:
        | "started"
        | "paused"
        | "resumed"
        | "saved"
        | "reverted"
        | "answering"
        | "not-answering";
    }
  | { readonly type: "device-failure"; readonly message: string }
  /** The last one. */
  | { readonly type: "exited"; readonly exit: VmExit }
);

/** Options of {@link RunningMachine.events}. */
export interface EventOptions {
  /** Ends the iteration, without an error. */
  readonly signal?: AbortSignal;
}

/**
 * A machine whose guest answers, in this process or another. The side that runs it holds the control of
 * the guest's agent. What waits for the guest has a limit; what waits for a process that is gone rejects.
 */
export interface RunningMachine extends AsyncDisposable {
  /** Connects to ports of the guest. */
  readonly vsock: Pick<VsockConnector, "connect">;
  /** Settles when the machine has ended and released everything. Never rejects. */
  readonly exited: Promise<VmExit>;
  /**
   * Asks the guest to shut down; what still runs in it after `timeoutMs` is killed, and a guest that is
   * not gone a second later ended. Default 2000. Idempotent.
   */
  stop(options?: { readonly timeoutMs?: number }): Promise<VmExit>;
  /** Ends the machine at once. Idempotent. */
  kill(): Promise<VmExit>;
  /** Lets go of a machine that another process runs; one of this process goes on all the same. */
  close(): void;
  /** Stops the guest's processors. Idempotent. */
  pause(): Promise<void>;
  /** Lets a paused guest run on, with the right time. Idempotent. */
  resume(): Promise<void>;
  /** Writes a snapshot into a new directory; the guest stands still while it is taken. */
  save(directory: string, options?: SaveOptions): Promise<void>;
  /** Makes it what it was when it went on from its snapshot; its log and events begin anew. */
  revert(): Promise<void>;
  metrics(options?: MetricsOptions): Promise<MachineMetrics>;
  /** Lets the guest have that much of its memory, in MiB; the rest it gives to the host as it can spare it. */
  setMemoryTarget(memoryMiB: number): Promise<void>;
  status(): Promise<MachineStatus>;
  /** Tells a machine that runs from one whose guest answers. Default limit 1000 ms. */
  health(options?: { readonly timeoutMs?: number }): Promise<MachineHealth>;
  /** What the machine printed. Old entries give way to new ones; a gap shows in the cursors. */
  logs(options?: LogOptions): AsyncIterable<LogEntry>;
  /** What happened to the machine, from the oldest event that is kept, and what happens until its end. */
  events(options?: EventOptions): AsyncIterable<MachineEvent>;
}
