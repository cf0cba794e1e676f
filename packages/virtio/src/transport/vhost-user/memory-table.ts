import { fstatSync } from "node:fs";
import { closeFd, MAX_VIEW_LENGTH, Mapping, viewAt } from "@supermachine-internal/libc";
import { GuestMemory, type GuestMemoryRegion } from "../../memory/guest-memory.js";
import type { Virtqueue } from "../../queue/virtqueue.js";
import { VhostUserError } from "./error.js";
import { memoryRegion } from "./protocol.js";

/** How many regions a front-end may have at once. */
export const MAX_MEMORY_REGIONS = 32;

const PAGE_SIZE = 4096;
/** A multiple of every page size below {@link MAX_VIEW_LENGTH}: longer regions are viewed in such pieces. */
const VIEW_PIECE = 2 ** 31;

/** One range of guest memory as the front-end describes it. Bytes and addresses, all below 2^53. */
export interface MemoryRegion {
  readonly guestAddress: number;
  readonly length: number;
  /** Where the front-end itself has mapped it; ring addresses are given in its address space. */
  readonly userAddress: number;
  /** Offset of the region in the file that comes with it. */
  readonly fileOffset: number;
}

interface MappedRegion extends MemoryRegion {
  readonly mapping: Mapping;
}

function fault(reason: string): VhostUserError {
  return new VhostUserError("ERR_VIRTIO_VHOST_USER_MEMORY", reason);
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** Reads a region description. Throws {@link VhostUserError} for one that no machine can have. */
export function decodeMemoryRegion(payload: Buffer, offset: number): MemoryRegion {
  const raw = memoryRegion.decode(payload, offset);
  const region: MemoryRegion = {
    guestAddress: Number(raw.guest_phys_addr),
    length: Number(raw.memory_size),
    userAddress: Number(raw.userspace_addr),
    fileOffset: Number(raw.mmap_offset),
  };
  const { guestAddress, length, userAddress, fileOffset } = region;
  for (const start of [guestAddress, userAddress, fileOffset]) {
    if (!Number.isSafeInteger(start + length)) throw fault("a memory region ends beyond 2^53");
  }
  if (length === 0) throw fault(`the memory region at ${hex(guestAddress)} is empty`);
  for (const value of [guestAddress, length, fileOffset]) {
    if (value % PAGE_SIZE !== 0) {
      throw fault(`the memory region at ${hex(guestAddress)} is not aligned to ${PAGE_SIZE} bytes`);
    }
  }
  return region;
}

function overlap(a: number, b: number, aLength: number, bLength: number): boolean {
  return a < b + bLength && b < a + aLength;
}

/**
 * Guest memory that a front-end shares: which range lies in which file, where this process has it
 * mapped, and where the front-end has.
 */
export class MemoryTable {
  #regions: MappedRegion[] = [];
  readonly #guestMemory = new GuestMemory([]);

  /** Maps one more region. Takes ownership of `fd`. Throws {@link VhostUserError}. */
  add(region: MemoryRegion, fd: number): void {
    try {
      this.#regions.push({ ...region, mapping: this.#map(region, fd) });
    } finally {
      // The mapping keeps the file.
      closeFd(fd);
    }
  }

  /** Takes a region out. The caller unmaps it once nothing uses it. */
  remove(region: MemoryRegion): Mapping {
    const index = this.#regions.findIndex(
      (r) =>
        r.guestAddress === region.guestAddress &&
        r.length === region.length &&
        r.userAddress === region.userAddress,
    );
    const [removed] = index === -1 ? [] : this.#regions.splice(index, 1);
    if (removed === undefined) throw fault(`there is no region at ${hex(region.guestAddress)}`);
    return removed.mapping;
  }

  /** Takes all regions out. The caller unmaps them once nothing uses them. */
  clear(): Mapping[] {
    return this.#regions.splice(0).map(({ mapping }) => mapping);
  }

  /** Where an address of the front-end's own address space lies in guest-physical memory. */
  toGuestAddress(userAddress: bigint): number {
    const address = Number(userAddress);
    const region = this.#regions.find(
      (r) => address >= r.userAddress && address < r.userAddress + r.length,
    );
    if (region === undefined) {
      throw fault(`ring address 0x${userAddress.toString(16)} is in no shared memory region`);
    }
    return region.guestAddress + (address - region.userAddress);
  }

  /**
   * The memory as devices see it, brought up to date: always the same object, so that a device need not be
   * told. No queue may run in it meanwhile.
   */
  guestMemory(): GuestMemory {
    const views: GuestMemoryRegion[] = [];
    for (const { guestAddress, length, mapping } of this.#regions) {
      const piece = length > MAX_VIEW_LENGTH ? VIEW_PIECE : length;
      for (let at = 0; at < length; at += piece) {
        const buffer = viewAt(mapping.address + BigInt(at), Math.min(piece, length - at));
        views.push({ guestAddress: guestAddress + at, buffer });
      }
    }
    this.#guestMemory.replace(views.sort((a, b) => a.guestAddress - b.guestAddress));
    return this.#guestMemory;
  }

  #map(region: MemoryRegion, fd: number): Mapping {
    const { guestAddress, length, userAddress, fileOffset } = region;
    if (this.#regions.length >= MAX_MEMORY_REGIONS) {
      throw fault(`more than ${MAX_MEMORY_REGIONS} memory regions`);
    }
    for (const other of this.#regions) {
      if (
        overlap(guestAddress, other.guestAddress, length, other.length) ||
        overlap(userAddress, other.userAddress, length, other.length)
      ) {
        throw fault(
          `the memory regions at ${hex(guestAddress)} and ${hex(other.guestAddress)} overlap`,
        );
      }
    }
    // Touching a mapping beyond the end of its file is SIGBUS: the end of this process.
    const status = fstatSync(fd);
    if (!status.isFile() || status.size < fileOffset + length) {
      throw fault(
        `the file of the memory region at ${hex(guestAddress)} has ${status.size} bytes, ` +
          `the region ends at ${fileOffset + length}`,
      );
    }
    try {
      return Mapping.file(fd, length, fileOffset, { shared: true });
    } catch (cause) {
      throw new VhostUserError(
        "ERR_VIRTIO_VHOST_USER_MEMORY",
        `cannot map the memory region at ${hex(guestAddress)}: ${String(cause)}`,
        { cause },
      );
    }
  }
}

/**
 * Unmaps when the last request that was taken from `queues` has been handed back. Its buffers lie in
 * the mappings, and an asynchronous file system may be reading a file into them at this moment.
 */
export function unmapWhenIdle(
  mappings: readonly Mapping[],
  queues: readonly Virtqueue[],
  retryMs = 20,
): void {
  if (queues.every((queue) => queue.inFlight === 0)) {
    for (const mapping of mappings) mapping.close();
  } else {
    setTimeout(unmapWhenIdle, retryMs, mappings, queues, Math.min(retryMs * 2, 1000)).unref();
  }
}
