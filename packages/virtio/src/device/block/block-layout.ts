import { defineStruct } from "@supermachine-internal/struct";

/** `<linux/virtio_ids.h>` */
export const VIRTIO_ID_BLOCK = 2;

/** `<linux/virtio_blk.h>` */
export const VIRTIO_BLK_F_SEG_MAX = 1n << 2n;
export const VIRTIO_BLK_F_RO = 1n << 5n;
export const VIRTIO_BLK_F_BLK_SIZE = 1n << 6n;
export const VIRTIO_BLK_F_FLUSH = 1n << 9n;
export const VIRTIO_BLK_F_DISCARD = 1n << 13n;
export const VIRTIO_BLK_F_WRITE_ZEROES = 1n << 14n;

export const VIRTIO_BLK_ID_BYTES = 20;

export const VIRTIO_BLK_T_IN = 0;
export const VIRTIO_BLK_T_OUT = 1;
export const VIRTIO_BLK_T_FLUSH = 4;
export const VIRTIO_BLK_T_GET_ID = 8;
export const VIRTIO_BLK_T_DISCARD = 11;
export const VIRTIO_BLK_T_WRITE_ZEROES = 13;

export const VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1;

export const VIRTIO_BLK_S_OK = 0;
export const VIRTIO_BLK_S_IOERR = 1;
export const VIRTIO_BLK_S_UNSUPP = 2;

export const virtioBlkConfig = defineStruct("virtio_blk_config", 72, {
  capacity: "u64",
  size_max: "u32",
  seg_max: "u32",
  geometry: { bytes: 4 },
  blk_size: "u32",
  physical_block_exp: "u8",
  alignment_offset: "u8",
  min_io_size: "u16",
  opt_io_size: "u32",
  wce: "u8",
  unused: "u8",
  num_queues: "u16",
  max_discard_sectors: "u32",
  max_discard_seg: "u32",
  discard_sector_alignment: "u32",
  max_write_zeroes_sectors: "u32",
  max_write_zeroes_seg: "u32",
  write_zeroes_may_unmap: "u8",
  unused1: { bytes: 3 },
  max_secure_erase_sectors: "u32",
  max_secure_erase_seg: "u32",
  secure_erase_sector_alignment: "u32",
});

export const virtioBlkOuthdr = defineStruct("virtio_blk_outhdr", 16, {
  type: "u32",
  ioprio: "u32",
  sector: "u64",
});

export const virtioBlkDiscardWriteZeroes = defineStruct("virtio_blk_discard_write_zeroes", 16, {
  sector: "u64",
  num_sectors: "u32",
  flags: "u32",
});
