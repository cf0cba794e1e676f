import {
  VIRTIO_BALLOON_S_AVAIL,
  VIRTIO_BALLOON_S_CACHES,
  VIRTIO_BALLOON_S_MAJFLT,
  VIRTIO_BALLOON_S_MEMFREE,
  VIRTIO_BALLOON_S_MEMTOT,
  VIRTIO_BALLOON_S_MINFLT,
  VIRTIO_BALLOON_S_SWAP_IN,
  VIRTIO_BALLOON_S_SWAP_OUT,
  virtioBalloonStat,
} from "./balloon-layout.js";

/** What a guest says of its memory; what it does not say is absent. */
export interface MemoryStatistics {
  /** Memory that the guest's kernel manages: less than the machine's, by the kernel itself. */
  readonly totalBytes?: number;
  /** Memory in use for nothing. */
  readonly freeBytes?: number;
  /** Memory that programs could have without swapping, as in /proc/meminfo. */
  readonly availableBytes?: number;
  /** The page cache. */
  readonly diskCacheBytes?: number;
  /** Page faults that needed a disk, since the guest started. */
  readonly majorFaults?: number;
  readonly minorFaults?: number;
  readonly swappedInBytes?: number;
  readonly swappedOutBytes?: number;
}

const names = new Map<number, keyof MemoryStatistics>([
  [VIRTIO_BALLOON_S_SWAP_IN, "swappedInBytes"],
  [VIRTIO_BALLOON_S_SWAP_OUT, "swappedOutBytes"],
  [VIRTIO_BALLOON_S_MAJFLT, "majorFaults"],
  [VIRTIO_BALLOON_S_MINFLT, "minorFaults"],
  [VIRTIO_BALLOON_S_MEMFREE, "freeBytes"],
  [VIRTIO_BALLOON_S_MEMTOT, "totalBytes"],
  [VIRTIO_BALLOON_S_AVAIL, "availableBytes"],
  [VIRTIO_BALLOON_S_CACHES, "diskCacheBytes"],
]);

/** Reads an array of `virtio_balloon_stat`. Unknown tags, and values that are no safe integer, are left out. */
export function decodeStatistics(bytes: Uint8Array): MemoryStatistics {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { offsets, size } = virtioBalloonStat;
  const statistics: { -readonly [Name in keyof MemoryStatistics]: number } = {};
  for (let at = 0; at + size <= bytes.length; at += size) {
    const name = names.get(data.getUint16(at + offsets.tag, true));
    const value = Number(data.getBigUint64(at + offsets.val, true));
    if (name !== undefined && Number.isSafeInteger(value)) statistics[name] = value;
  }
  return statistics;
}
