/**
 * The disk behind a block device. Methods are synchronous: they run on the device's thread, straight
 * from and to guest memory. Offsets and lengths are in bytes, multiples of 512, and within `capacity`:
 * the device has checked them. A method that fails throws; the guest sees an I/O error.
 */
export interface BlockBackend extends Disposable {
  /** Bytes, a multiple of 512. */
  readonly capacity: number;
  readonly readOnly: boolean;
  /** Fills all buffers from `offset`. */
  readSync(buffers: readonly Uint8Array[], offset: number): void;
  /** Writes all buffers at `offset`. */
  writeSync(buffers: readonly Uint8Array[], offset: number): void;
  /** What was written before is on stable storage when this returns. */
  flushSync(): void;
  /** The bytes are not needed any more. Without it the device offers no DISCARD. */
  discardSync?(offset: number, length: number): void;
  /** Without it the device offers no WRITE_ZEROES. */
  writeZeroesSync?(offset: number, length: number): void;
  /** Releases the disk. Idempotent. */
  close(): void;
}
