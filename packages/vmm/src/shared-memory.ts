import type { CopiedMemory, SharedMemoryRegion, VirtioDevice } from "@supermachine/virtio";
import { sharedMemoryAddresses } from "./memory-map.js";

/** A device's shared memory region with its place in the guest. */
export interface PlacedRegion {
  readonly region: SharedMemoryRegion;
  /** The memory slot. */
  readonly slot: number;
  readonly guestAddress: number;
}

/** Places the regions of `devices` in a machine of `memoryMiB`, from memory slot `firstSlot` on. */
export function placeSharedMemory(
  devices: readonly VirtioDevice[],
  memoryMiB: number,
  firstSlot: number,
): PlacedRegion[] {
  const regions = devices.flatMap(({ sharedMemory }) => sharedMemory ?? []);
  const sizes = regions.map(({ length }) => length);
  const addresses = sharedMemoryAddresses(memoryMiB, sizes);
  return regions.map((region, index) => {
    return { region, slot: firstSlot + index, guestAddress: addresses[index] ?? 0 };
  });
}

/**
 * The region for devices that are given buffers in it: the guest may write to one file what it has mapped
 * of another.
 */
export function copiedMemory({ region, guestAddress }: PlacedRegion): CopiedMemory {
  const { length } = region;
  const orRepaired = (access: () => boolean) =>
    access() || (region.repair?.() === true && access());
  return {
    guestAddress,
    length,
    read: (offset, target) => orRepaired(() => region.read(offset, target)),
    write: (offset, source) => orRepaired(() => region.write(offset, source)),
  };
}
