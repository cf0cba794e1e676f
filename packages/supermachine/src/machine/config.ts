import type { VsockConnector } from "@supermachine/guest";
import type { MachineExit } from "@supermachine/vmm";

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

/** Everything needed to build a machine, as plain data: it may be built in another process. */
export interface MachineConfig {
  readonly memoryMiB: number;
  readonly cpus: number;
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: string;
  /** Path of the EROFS image of the root file system. */
  readonly rootfs: string;
  readonly shares: readonly Share[];
}

/** What a machine's starter hears. */
export interface MachineListener {
  /** The machine's vsock exists, and its guest does not run yet: the time to listen. */
  onVsock(vsock: VsockConnector): void;
  /** The guest printed on its console. */
  onConsole?(bytes: Uint8Array): void;
}

/** A machine that runs, in this process or another. */
export interface RunningMachine extends AsyncDisposable {
  readonly vsock: VsockConnector;
  /** Settles when the machine has ended and released everything. Never rejects. */
  readonly exited: Promise<MachineExit>;
  /** The last lines of the guest's console. */
  consoleLines(): readonly string[];
  /** Ends the machine at once. Idempotent. */
  stop(): Promise<MachineExit>;
}
