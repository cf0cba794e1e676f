import { VirtioError } from "../error.js";

/** A range of guest-physical memory and the host bytes behind it. */
export interface GuestMemoryRegion {
  /** Guest-physical address of the first byte; a multiple of 16, so that ring alignment carries over. */
  readonly guestAddress: number;
  /** The whole region, less than 4 GiB; not owned: whoever mapped it unmaps it when every device is closed and has nothing in flight. */
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
  /**
   * Gives the whole pages of a range back to the host; what they hold when the guest touches them again is
   * not defined. Absent where that cannot be done: they are kept.
   */
  readonly discard?: ((offset: number, length: number) => void) | undefined;
}

/** One region with the typed views that the accessors use. */
export interface GuestMemoryView {
  readonly guestAddress: number;
  readonly length: number;
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
  readonly bytes: Uint8Array;
  readonly data: DataView;
  readonly discard: ((offset: number, length: number) => void) | undefined;
}

/**
 * Guest-physical memory whose pages come and go, such as a DAX window. Devices get copies of it: in place, a
 * page that is gone would end the process.
 */
export interface CopiedMemory {
  readonly guestAddress: number;
  /** Bytes. */
  readonly length: number;
  /** Copies bytes out, and `write` back in; false where they cannot be accessed. */
  read(offset: number, target: Uint8Array): boolean;
  write(offset: number, source: Uint8Array): boolean;
}

const REGION_ALIGNMENT = 16;
const REGION_LIMIT = 2 ** 32;

/**
 * Guest-physical memory as a device sees it. Addresses come from the guest and are hostile: accessors
 * answer `undefined` or `false` for memory that does not exist, and never throw. Values are
 * little-endian (virtio 1.2, section 1.4), as is every host this runs on.
 */
export class GuestMemory {
  #views: readonly GuestMemoryView[];
  readonly #copied: readonly CopiedMemory[];

  /**
   * @param regions - sorted by `guestAddress`, non-overlapping; regions may touch.
   * @param copied - for the buffers of requests only; rings and tables lie in `regions`.
   * @throws VirtioError `ERR_VIRTIO_MEMORY_REGION`
   */
  constructor(regions: readonly GuestMemoryRegion[], copied: readonly CopiedMemory[] = []) {
    this.#copied = copied;
    this.#views = viewsOf(regions);
  }

  /**
   * Replaces all regions. Queues in this memory must be suspended meanwhile; what devices have in flight
   * lies in the old regions, so these stay mapped until it is handed back.
   *
   * @throws VirtioError `ERR_VIRTIO_MEMORY_REGION`, and nothing has changed.
   */
  replace(regions: readonly GuestMemoryRegion[]): void {
    this.#views = viewsOf(regions);
  }

  /** The region that holds all of `[address, address + length)`. */
  region(address: number, length: number): GuestMemoryView | undefined {
    for (const view of this.#views) {
      const offset = address - view.guestAddress;
      if (offset >= 0 && length >= 0 && length <= view.length - offset) return view;
    }
    return undefined;
  }

  /** Whether one region holds all of `[address, address + length)`. */
  contains(address: number, length: number): boolean {
    return this.region(address, length) !== undefined;
  }

  /** The bytes at `address` in place, when one region holds them all. */
  slice(address: number, length: number): Uint8Array | undefined {
    const view = this.region(address, length);
    return view && new Uint8Array(view.buffer, address - view.guestAddress, length);
  }

  /**
   * Appends the bytes at `address` to `into`: one slice, or several where touching regions meet.
   * Answers `false` when a byte of the range does not exist; `into` may then hold a part.
   */
  collect(address: number, length: number, into: Uint8Array[]): boolean {
    const whole = this.slice(address, length);
    if (whole !== undefined) {
      into.push(whole);
      return true;
    }
    let at = address;
    let left = length;
    while (left > 0) {
      const view = this.region(at, 1);
      if (view === undefined) return false;
      const offset = at - view.guestAddress;
      const count = Math.min(left, view.length - offset);
      into.push(new Uint8Array(view.buffer, offset, count));
      at += count;
      left -= count;
    }
    return length > 0;
  }

  /** The guest-physical address of bytes that lie in place in a region; `undefined` for any others. */
  addressOf(bytes: Uint8Array): number | undefined {
    for (const view of this.#views) {
      if (view.buffer === bytes.buffer) return view.guestAddress + bytes.byteOffset;
    }
    return undefined;
  }

  /** Gives the whole pages of `[address, address + length)` back to the host, as far as they exist. */
  discard(address: number, length: number): void {
    for (const { guestAddress, length: available, discard } of this.#views) {
      const start = Math.max(address - guestAddress, 0);
      const end = Math.min(address + length - guestAddress, available);
      if (end > start) discard?.(start, end - start);
    }
  }

  /** The copied memory that holds all of `[address, address + length)`. */
  copied(address: number, length: number): CopiedMemory | undefined {
    return this.#copied.find((memory) => {
      const offset = address - memory.guestAddress;
      return offset >= 0 && length <= memory.length - offset;
    });
  }

  readU16(address: number): number | undefined {
    const view = this.region(address, 2);
    return view?.data.getUint16(address - view.guestAddress, true);
  }

  readU32(address: number): number | undefined {
    const view = this.region(address, 4);
    return view?.data.getUint32(address - view.guestAddress, true);
  }

  /** `undefined` also for a value of 2^53 or more. */
  readU64(address: number): number | undefined {
    const view = this.region(address, 8);
    if (view === undefined) return undefined;
    const offset = address - view.guestAddress;
    const value =
      view.data.getUint32(offset, true) + view.data.getUint32(offset + 4, true) * 2 ** 32;
    return Number.isSafeInteger(value) ? value : undefined;
  }

  /** Answers `false`, and writes nothing, when the address does not exist. */
  writeU16(address: number, value: number): boolean {
    const view = this.region(address, 2);
    view?.data.setUint16(address - view.guestAddress, value, true);
    return view !== undefined;
  }

  /** Answers `false`, and writes nothing, when the address does not exist. */
  writeU32(address: number, value: number): boolean {
    const view = this.region(address, 4);
    view?.data.setUint32(address - view.guestAddress, value, true);
    return view !== undefined;
  }

  /** `value` is below 2^53. Answers `false`, and writes nothing, when the address does not exist. */
  writeU64(address: number, value: number): boolean {
    const view = this.region(address, 8);
    if (view === undefined) return false;
    const offset = address - view.guestAddress;
    view.data.setUint32(offset, value >>> 0, true);
    view.data.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
    return true;
  }
}

function viewsOf(regions: readonly GuestMemoryRegion[]): GuestMemoryView[] {
  let end = 0;
  return regions.map(({ guestAddress, buffer, discard }) => {
    const length = buffer.byteLength;
    const where = `guest memory region of ${length} bytes at 0x${guestAddress.toString(16)}`;
    if (
      !Number.isSafeInteger(guestAddress + length) ||
      guestAddress < 0 ||
      guestAddress % REGION_ALIGNMENT !== 0
    ) {
      throw new VirtioError("ERR_VIRTIO_MEMORY_REGION", `${where}: start it on a page boundary`);
    }
    if (length === 0 || length >= REGION_LIMIT) {
      throw new VirtioError("ERR_VIRTIO_MEMORY_REGION", `${where}: make it 1 byte to 4 GiB - 1`);
    }
    if (guestAddress < end) {
      throw new VirtioError(
        "ERR_VIRTIO_MEMORY_REGION",
        `${where}: overlaps the region before it; sort regions by address`,
      );
    }
    end = guestAddress + length;
    return {
      guestAddress,
      length,
      buffer,
      bytes: new Uint8Array(buffer),
      data: new DataView(buffer),
      discard,
    };
  });
}
