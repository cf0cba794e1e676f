/**
 * A range of host addresses into which files are mapped and unmapped while a VM that sees it runs: the
 * window of DAX. All of it is one memory slot: give its address and length to `VmHandle.mapMemory`.
 * A guest that touches a part where nothing is mapped ends its run with `MEMORY_FAULT`, and so does one
 * that writes to what is mapped read-only or touches a page that lies behind the end of its file.
 *
 * The methods check nothing but what the platform checks; offsets and lengths are multiples of
 * `pageSize` within the window. They return 0 or a negated errno.
 */
export interface FileWindow extends Disposable {
  /** Host address of the first byte, a multiple of 2 MiB. */
  readonly hostAddress: bigint;
  /** Bytes. */
  readonly length: number;
  /** Bytes; what can be mapped on its own. */
  readonly pageSize: number;
  /** Maps `length` bytes of `fd` at `windowOffset`, in place of what is there. The fd may be closed after. */
  map(
    fd: number,
    fileOffset: number,
    length: number,
    windowOffset: number,
    writable: boolean,
  ): number;
  /** Maps zeroed memory that belongs to no file, in place of what is there. */
  mapZeros(windowOffset: number, length: number): number;
  /** Takes away what is there. */
  unmap(windowOffset: number, length: number): number;
  /**
   * Copies bytes out of the window, and {@link FileWindow.write} into it; false, with nothing or a part
   * copied, where the guest could not do so either. The window must not be accessed in any other way: a page
   * that is not there would end the process.
   */
  read(windowOffset: number, target: Uint8Array): boolean;
  write(windowOffset: number, source: Uint8Array): boolean;
  /** Releases the addresses; no VM may have them as a slot any more. Idempotent. */
  close(): void;
}
