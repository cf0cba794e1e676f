import { defineStruct } from "@supermachine-internal/struct";

/** `<linux/virtio_ring.h>`; virtio 1.2, section 2.7 calls these virtq_desc, virtq_avail, ... */
export const vringDesc = defineStruct("vring_desc", 16, {
  addr: "u64",
  len: "u32",
  flags: "u16",
  next: "u16",
});

/** The part before `ring`, an array of u16 heads followed by the u16 `used_event`. */
export const vringAvail = defineStruct("vring_avail", 4, { flags: "u16", idx: "u16" });

/** The part before `ring`, an array of `vring_used_elem` followed by the u16 `avail_event`. */
export const vringUsed = defineStruct("vring_used", 4, { flags: "u16", idx: "u16" });

export const vringUsedElem = defineStruct("vring_used_elem", 8, { id: "u32", len: "u32" });

export const VRING_DESC_F_NEXT = 1;
export const VRING_DESC_F_WRITE = 2;
export const VRING_DESC_F_INDIRECT = 4;
export const VRING_USED_F_NO_NOTIFY = 1;
export const VRING_AVAIL_F_NO_INTERRUPT = 1;

/** Section 2.7: alignments of the three parts of a queue, in bytes. */
export const VRING_DESC_ALIGN_SIZE = 16;
export const VRING_AVAIL_ALIGN_SIZE = 2;
export const VRING_USED_ALIGN_SIZE = 4;

/** Section 2.7: a queue has at most this many descriptors. */
export const MAX_QUEUE_SIZE = 32768;

/** Bytes of the available ring with `used_event`. */
export function availableRingSize(queueSize: number): number {
  return vringAvail.size + 2 * queueSize + 2;
}

/** Bytes of the used ring with `avail_event`. */
export function usedRingSize(queueSize: number): number {
  return vringUsed.size + vringUsedElem.size * queueSize + 2;
}

/**
 * Whether the other side, which asked to hear about the step past `eventIndex`, must be told that an
 * index moved from `oldIndex` to `newIndex` (section 2.7.10; all three wrap at 2^16).
 */
export function needsEvent(eventIndex: number, newIndex: number, oldIndex: number): boolean {
  return ((newIndex - eventIndex - 1) & 0xffff) < ((newIndex - oldIndex) & 0xffff);
}
