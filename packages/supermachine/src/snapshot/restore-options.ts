import type { ImageStore } from "@supermachine/oci/image-store";
import type { Mount, VmOptions } from "../vm-options.js";

/** Options of {@link Vm.restore}. */
export interface RestoreVmOptions
  extends Pick<
    VmOptions,
    "isolation" | "detached" | "name" | "hostname" | "bootTimeoutMs" | "signal" | "onConsole"
  > {
  /** Directory of the snapshot. */
  readonly snapshot: string;
  /** Where the snapshot's image is looked up. Default: the user's store. */
  readonly store?: ImageStore;
  /**
   * The mounts that the machine was started with. They must be given again, in the same order: a snapshot
   * that comes from elsewhere must not choose which directories of this host its guest sees.
   */
  readonly mounts?: readonly Mount[];
  /**
   * Compares all of the saved memory with its checksums first, at up to 6 GB/s. Default true; false for a
   * snapshot that was made or verified here and that nobody else can change.
   */
  readonly verifyMemory?: boolean;
}

/** Options of {@link Vm.fork}. */
export interface ForkOptions
  extends Pick<VmOptions, "isolation" | "bootTimeoutMs" | "signal" | "onConsole"> {
  /** Where the machine's memory is kept for the copies to share. Default: `/dev/shm`, else the temporary directory. */
  readonly directory?: string;
}
