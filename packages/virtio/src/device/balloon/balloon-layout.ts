import { defineStruct } from "@supermachine-internal/struct";

/** `<linux/virtio_ids.h>` */
export const VIRTIO_ID_BALLOON = 5;

/** `<linux/virtio_balloon.h>` */
export const VIRTIO_BALLOON_F_STATS_VQ = 1n << 1n;
export const VIRTIO_BALLOON_F_DEFLATE_ON_OOM = 1n << 2n;
export const VIRTIO_BALLOON_F_REPORTING = 1n << 5n;

/** The balloon counts in pages of 4 KiB, whatever the guest's are. */
export const VIRTIO_BALLOON_PFN_SHIFT = 12;

export const VIRTIO_BALLOON_S_SWAP_IN = 0;
export const VIRTIO_BALLOON_S_SWAP_OUT = 1;
export const VIRTIO_BALLOON_S_MAJFLT = 2;
export const VIRTIO_BALLOON_S_MINFLT = 3;
export const VIRTIO_BALLOON_S_MEMFREE = 4;
export const VIRTIO_BALLOON_S_MEMTOT = 5;
export const VIRTIO_BALLOON_S_AVAIL = 6;
export const VIRTIO_BALLOON_S_CACHES = 7;

export const virtioBalloonConfig = defineStruct("virtio_balloon_config", 16, {
  num_pages: "u32",
  actual: "u32",
  free_page_hint_cmd_id: "u32",
  poison_val: "u32",
});

/** Packed: ten bytes. */
export const virtioBalloonStat = defineStruct("virtio_balloon_stat", 10, {
  tag: "u16",
  val: "u64",
});
