import type { FileWindow } from "./file-window.js";
import type { VmHandle, VmOptions, VmToken } from "./vm.js";
import type { X86Host } from "./x86.js";

/** Whether a hypervisor can be used here, and if not, what a person can do about it. */
export type Availability =
  | { readonly usable: true }
  | { readonly usable: false; readonly reason: string };

/** Zeroed, page-aligned memory of the host that a VM can map; released by `close()`. */
export interface HostMemory extends Disposable {
  readonly address: bigint;
  /** Bytes. */
  readonly length: number;
  /** A view of the whole; it dangles after `close()`. */
  view(): ArrayBuffer;
  /**
   * Gives the whole pages of a range back to the host, also while a VM has them mapped: they take no memory
   * until they are touched again, and then hold what they did when the memory was allocated.
   */
  discard(offset: number, length: number): void;
  close(): void;
}

/** A part of a file that stands in a part of {@link HostMemory}. All numbers are multiples of the host's page size. */
export interface FileExtent {
  /** Open for reading; may be closed once the memory is there. */
  readonly fd: number;
  /** Where the part starts in the file. */
  readonly fileOffset: number;
  /** Where it starts in the memory. */
  readonly memoryOffset: number;
  /** Bytes; the file must have them, or access to what lies behind its end faults. */
  readonly length: number;
}

/** A platform's hypervisor: the root object a driver package exports. Making one opens nothing. */
export interface Hypervisor {
  /** Short lower-case name, such as `kvm`. */
  readonly name: string;
  /** What only x86 hosts have. */
  readonly x86?: X86Host;
  /** Looks without side effects; never throws. */
  isAvailable(): Availability;
  /** @throws {@link HypervisorError} when the platform refuses. */
  createVm(options?: VmOptions): VmHandle;
  /**
   * A second handle on a VM made by another thread of this process. Closing it leaves the VM alone.
   *
   * @throws {@link HypervisorError} when the token is of another hypervisor or process, or the VM is closed.
   */
  attachVm(token: VmToken): VmHandle;
  /**
   * Memory for guests that need nothing special. `size` in bytes, rounded up to pages.
   *
   * With `contents` it is not all zeros: it shows those parts of files, later ones in place of earlier
   * ones. They are copied as they are written to: the files never change, and pages that nobody writes
   * are the same for every memory made of a file.
   */
  allocateMemory(size: number, contents?: readonly FileExtent[]): HostMemory;
  /**
   * Reserves addresses for a window of files, with nothing mapped. `size` in bytes, a multiple of 2 MiB.
   * Absent where the platform cannot change what a slot shows while its VM runs.
   */
  createFileWindow?(size: number): FileWindow;
}
