import type { CopiedMemory } from "../memory/guest-memory.js";
import { gather, scatter } from "./scatter.js";

/** A buffer that is a copy of guest memory. */
export interface CopiedBuffer {
  readonly memory: CopiedMemory;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/**
 * One request: the buffers of a descriptor chain, in place in guest memory (copies where that may vanish). The guest can change them
 * at any time, so read a field once and keep it.
 *
 * Chains are pooled. One is valid from `Virtqueue.pop()` until it is handed back with
 * `Virtqueue.addUsed()` or `complete()`, and must not be touched after.
 */
export class DescriptorChain {
  /** Index of the first descriptor: the chain's id in the used ring. */
  head = 0;
  /** Buffers the device reads (driver to device), none empty. */
  readonly readable: Uint8Array[] = [];
  /** Buffers the device writes (device to driver), none empty. */
  readonly writable: Uint8Array[] = [];
  /** Bytes in `readable`. */
  readableLength = 0;
  /** Bytes in `writable`. */
  writableLength = 0;
  /** What of `writable` are copies, to be written back when the chain is handed back. */
  readonly copies: CopiedBuffer[] = [];
  /** Bytes in copies, readable ones included. */
  copiedLength = 0;
  /** Set by the queue while the device has the chain. */
  inFlight = false;
  /** Hands the chain back with the number of bytes written, and interrupts the driver if it wants that. */
  readonly complete: (bytesWritten: number) => void;

  constructor(complete: (chain: DescriptorChain, bytesWritten: number) => void) {
    this.complete = (bytesWritten) => complete(this, bytesWritten);
  }

  /** Copies readable bytes from `offset` into `target`; answers how many there were. */
  read(offset: number, target: Uint8Array): number {
    return gather(this.readable, offset, target);
  }

  /** Copies `source` to `offset` of the writable bytes; answers how many fitted. */
  write(offset: number, source: Uint8Array): number {
    return scatter(this.writable, offset, source);
  }

  /** Brings what was written to copies to where it belongs. */
  writeBack(): void {
    for (const { memory, offset, bytes } of this.copies) memory.write(offset, bytes);
  }

  clear(): void {
    this.readable.length = 0;
    this.writable.length = 0;
    this.readableLength = 0;
    this.writableLength = 0;
    this.copies.length = 0;
    this.copiedLength = 0;
  }
}
