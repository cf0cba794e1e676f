import { defineStruct } from "@supermachine-internal/struct";

/** `<linux/virtio_mmio.h>`: register offsets (virtio 1.2, section 4.2.2). */
export const VIRTIO_MMIO_MAGIC_VALUE = 0x000;
export const VIRTIO_MMIO_VERSION = 0x004;
export const VIRTIO_MMIO_DEVICE_ID = 0x008;
export const VIRTIO_MMIO_VENDOR_ID = 0x00c;
export const VIRTIO_MMIO_DEVICE_FEATURES = 0x010;
export const VIRTIO_MMIO_DEVICE_FEATURES_SEL = 0x014;
export const VIRTIO_MMIO_DRIVER_FEATURES = 0x020;
export const VIRTIO_MMIO_DRIVER_FEATURES_SEL = 0x024;
export const VIRTIO_MMIO_QUEUE_SEL = 0x030;
export const VIRTIO_MMIO_QUEUE_NUM_MAX = 0x034;
export const VIRTIO_MMIO_QUEUE_NUM = 0x038;
export const VIRTIO_MMIO_QUEUE_READY = 0x044;
export const VIRTIO_MMIO_QUEUE_NOTIFY = 0x050;
export const VIRTIO_MMIO_INTERRUPT_STATUS = 0x060;
export const VIRTIO_MMIO_INTERRUPT_ACK = 0x064;
export const VIRTIO_MMIO_STATUS = 0x070;
export const VIRTIO_MMIO_QUEUE_DESC_LOW = 0x080;
export const VIRTIO_MMIO_QUEUE_DESC_HIGH = 0x084;
export const VIRTIO_MMIO_QUEUE_AVAIL_LOW = 0x090;
export const VIRTIO_MMIO_QUEUE_AVAIL_HIGH = 0x094;
export const VIRTIO_MMIO_QUEUE_USED_LOW = 0x0a0;
export const VIRTIO_MMIO_QUEUE_USED_HIGH = 0x0a4;
export const VIRTIO_MMIO_SHM_SEL = 0x0ac;
export const VIRTIO_MMIO_SHM_LEN_LOW = 0x0b0;
export const VIRTIO_MMIO_SHM_LEN_HIGH = 0x0b4;
export const VIRTIO_MMIO_SHM_BASE_LOW = 0x0b8;
export const VIRTIO_MMIO_SHM_BASE_HIGH = 0x0bc;
export const VIRTIO_MMIO_CONFIG_GENERATION = 0x0fc;
export const VIRTIO_MMIO_CONFIG = 0x100;

export const VIRTIO_MMIO_INT_VRING = 1;
export const VIRTIO_MMIO_INT_CONFIG = 2;

/** `<linux/virtio_config.h>`: device status bits (section 2.1). */
export const VIRTIO_CONFIG_S_ACKNOWLEDGE = 1;
export const VIRTIO_CONFIG_S_DRIVER = 2;
export const VIRTIO_CONFIG_S_DRIVER_OK = 4;
export const VIRTIO_CONFIG_S_FEATURES_OK = 8;
export const VIRTIO_CONFIG_S_NEEDS_RESET = 0x40;
export const VIRTIO_CONFIG_S_FAILED = 0x80;

/** Bytes of guest-physical address space that a device occupies. */
export const MMIO_WINDOW_SIZE = 0x200;
/** Bytes of configuration space behind {@link VIRTIO_MMIO_CONFIG}. */
export const MMIO_CONFIG_SIZE = MMIO_WINDOW_SIZE - VIRTIO_MMIO_CONFIG;

/**
 * Our own layout of the registers in shared memory, in 32-bit words: this header, the configuration
 * space, then the queues.
 */
export const mmioHeader = defineStruct("mmio_registers", 72, {
  device_id: "u32",
  device_features_low: "u32",
  device_features_high: "u32",
  queue_count: "u32",
  /** The shared memory region; a length of all ones where the device has none. */
  shm_id: "u32",
  shm_len_low: "u32",
  shm_len_high: "u32",
  shm_base_low: "u32",
  shm_base_high: "u32",
  device_features_sel: "u32",
  driver_features_sel: "u32",
  driver_features_low: "u32",
  driver_features_high: "u32",
  queue_sel: "u32",
  shm_sel: "u32",
  interrupt_status: "u32",
  /** Status in the low byte; above it the number of resets, so that a late failure hits no new driver. */
  status: "u32",
  config_generation: "u32",
});

/** The registers of one queue in shared memory. */
export const mmioQueue = defineStruct("mmio_queue", 36, {
  num_max: "u32",
  num: "u32",
  ready: "u32",
  desc_low: "u32",
  desc_high: "u32",
  avail_low: "u32",
  avail_high: "u32",
  used_low: "u32",
  used_high: "u32",
});
