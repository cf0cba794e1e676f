import { defineStruct } from "@supermachine-internal/struct";

/*
 * The vhost-user protocol as in QEMU's docs/interop/vhost-user.rst. All integers have the byte order
 * of the host, which is little-endian on every platform this runs on.
 */

export const VHOST_USER_GET_FEATURES = 1;
export const VHOST_USER_SET_FEATURES = 2;
export const VHOST_USER_SET_OWNER = 3;
export const VHOST_USER_RESET_OWNER = 4;
export const VHOST_USER_SET_MEM_TABLE = 5;
export const VHOST_USER_SET_LOG_BASE = 6;
export const VHOST_USER_SET_LOG_FD = 7;
export const VHOST_USER_SET_VRING_NUM = 8;
export const VHOST_USER_SET_VRING_ADDR = 9;
export const VHOST_USER_SET_VRING_BASE = 10;
export const VHOST_USER_GET_VRING_BASE = 11;
export const VHOST_USER_SET_VRING_KICK = 12;
export const VHOST_USER_SET_VRING_CALL = 13;
export const VHOST_USER_SET_VRING_ERR = 14;
export const VHOST_USER_GET_PROTOCOL_FEATURES = 15;
export const VHOST_USER_SET_PROTOCOL_FEATURES = 16;
export const VHOST_USER_GET_QUEUE_NUM = 17;
export const VHOST_USER_SET_VRING_ENABLE = 18;
export const VHOST_USER_SET_BACKEND_REQ_FD = 21;
export const VHOST_USER_GET_CONFIG = 24;
export const VHOST_USER_SET_CONFIG = 25;
export const VHOST_USER_RESET_DEVICE = 34;
export const VHOST_USER_GET_MAX_MEM_SLOTS = 36;
export const VHOST_USER_ADD_MEM_REG = 37;
export const VHOST_USER_REM_MEM_REG = 38;

/** Sent on the channel of SET_BACKEND_REQ_FD, from the back-end to the front-end. */
export const VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2;

/** The two lowest bits of the header's flags hold the protocol version, which is 1. */
export const VHOST_USER_VERSION_MASK = 0x3;
export const VHOST_USER_VERSION = 0x1;
export const VHOST_USER_REPLY_MASK = 0x4;
export const VHOST_USER_NEED_REPLY_MASK = 0x8;

/** A feature bit of this protocol among the virtio feature bits: protocol features can be negotiated. */
export const VHOST_USER_F_PROTOCOL_FEATURES = 30;

export const VHOST_USER_PROTOCOL_F_MQ = 0;
export const VHOST_USER_PROTOCOL_F_REPLY_ACK = 3;
export const VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5;
export const VHOST_USER_PROTOCOL_F_CONFIG = 9;
export const VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13;
export const VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15;

/** In the u64 of SET_VRING_KICK, CALL and ERR: the ring's index, and "no descriptor comes with this". */
export const VHOST_USER_VRING_IDX_MASK = 0xff;
export const VHOST_USER_VRING_NOFD_MASK = 0x100;

/** The most regions in a SET_MEM_TABLE message. */
export const VHOST_MEMORY_BASELINE_NREGIONS = 8;
/** The most bytes of configuration in a GET_CONFIG or SET_CONFIG message. */
export const VHOST_USER_MAX_CONFIG_SIZE = 256;

export const messageHeader = defineStruct("vhost_user_header", 12, {
  request: "u32",
  flags: "u32",
  /** Bytes of payload that follow. */
  size: "u32",
});

/** Field for field `struct vhost_vring_state` of <linux/vhost_types.h>. */
export const vringState = defineStruct("vhost_vring_state", 8, { index: "u32", num: "u32" });

/** Field for field `struct vhost_vring_addr` of <linux/vhost_types.h>. */
export const vringAddress = defineStruct("vhost_vring_addr", 40, {
  index: "u32",
  flags: "u32",
  desc_user_addr: "u64",
  used_user_addr: "u64",
  avail_user_addr: "u64",
  log_guest_addr: "u64",
});

/**
 * A memory region description. The first three fields are those of `struct vhost_memory_region`,
 * whose last one (flags there) is the offset of the region in the file that comes with the message.
 */
export const memoryRegion = defineStruct("vhost_user_memory_region", 32, {
  guest_phys_addr: "u64",
  memory_size: "u64",
  userspace_addr: "u64",
  mmap_offset: "u64",
});

/** Starts SET_MEM_TABLE, as `struct vhost_memory`; the regions follow. */
export const memoryTableHeader = defineStruct("vhost_memory", 8, {
  nregions: "u32",
  padding: "u32",
});

/** Starts ADD_MEM_REG and REM_MEM_REG; one region follows. */
export const singleRegionHeader = defineStruct("vhost_user_mem_reg_header", 8, { padding: "u64" });

/** Starts GET_CONFIG and SET_CONFIG; `size` bytes of configuration space follow. */
export const configHeader = defineStruct("vhost_user_config_header", 12, {
  offset: "u32",
  size: "u32",
  flags: "u32",
});

/** What a request may look like; everything else is refused before it is looked into. */
export interface RequestShape {
  readonly name: string;
  /** Bytes of payload. */
  readonly minimum: number;
  readonly maximum: number;
  /** The most descriptors that may come with it. */
  readonly fds: number;
  /** The request has an answer of its own, so REPLY_ACK does not apply to it. */
  readonly answered: boolean;
}

function shape(
  name: string,
  payload: number | readonly [minimum: number, maximum: number],
  options: { readonly fds?: number; readonly answered?: boolean } = {},
): RequestShape {
  const [minimum, maximum] = typeof payload === "number" ? [payload, payload] : payload;
  return { name, minimum, maximum, fds: options.fds ?? 0, answered: options.answered ?? false };
}

const U64 = 8;
const memoryTableSize = [
  memoryTableHeader.size,
  memoryTableHeader.size + VHOST_MEMORY_BASELINE_NREGIONS * memoryRegion.size,
] as const;
const configSize = [configHeader.size, configHeader.size + VHOST_USER_MAX_CONFIG_SIZE] as const;
const singleRegionSize = singleRegionHeader.size + memoryRegion.size;

/** Every request that is served, by number. */
export const requestShapes: ReadonlyMap<number, RequestShape> = new Map([
  [VHOST_USER_GET_FEATURES, shape("GET_FEATURES", 0, { answered: true })],
  [VHOST_USER_SET_FEATURES, shape("SET_FEATURES", U64)],
  [VHOST_USER_SET_OWNER, shape("SET_OWNER", 0)],
  [VHOST_USER_RESET_OWNER, shape("RESET_OWNER", 0)],
  [
    VHOST_USER_SET_MEM_TABLE,
    shape("SET_MEM_TABLE", memoryTableSize, { fds: VHOST_MEMORY_BASELINE_NREGIONS }),
  ],
  [VHOST_USER_SET_VRING_NUM, shape("SET_VRING_NUM", vringState.size)],
  [VHOST_USER_SET_VRING_ADDR, shape("SET_VRING_ADDR", vringAddress.size)],
  [VHOST_USER_SET_VRING_BASE, shape("SET_VRING_BASE", vringState.size)],
  [VHOST_USER_GET_VRING_BASE, shape("GET_VRING_BASE", vringState.size, { answered: true })],
  [VHOST_USER_SET_VRING_KICK, shape("SET_VRING_KICK", U64, { fds: 1 })],
  [VHOST_USER_SET_VRING_CALL, shape("SET_VRING_CALL", U64, { fds: 1 })],
  [VHOST_USER_SET_VRING_ERR, shape("SET_VRING_ERR", U64, { fds: 1 })],
  [VHOST_USER_GET_PROTOCOL_FEATURES, shape("GET_PROTOCOL_FEATURES", 0, { answered: true })],
  [VHOST_USER_SET_PROTOCOL_FEATURES, shape("SET_PROTOCOL_FEATURES", U64)],
  [VHOST_USER_GET_QUEUE_NUM, shape("GET_QUEUE_NUM", 0, { answered: true })],
  [VHOST_USER_SET_VRING_ENABLE, shape("SET_VRING_ENABLE", vringState.size)],
  [VHOST_USER_SET_BACKEND_REQ_FD, shape("SET_BACKEND_REQ_FD", 0, { fds: 1 })],
  [VHOST_USER_GET_CONFIG, shape("GET_CONFIG", configSize, { answered: true })],
  [VHOST_USER_SET_CONFIG, shape("SET_CONFIG", configSize)],
  [VHOST_USER_RESET_DEVICE, shape("RESET_DEVICE", 0)],
  [VHOST_USER_GET_MAX_MEM_SLOTS, shape("GET_MAX_MEM_SLOTS", 0, { answered: true })],
  [VHOST_USER_ADD_MEM_REG, shape("ADD_MEM_REG", singleRegionSize, { fds: 1 })],
  // Some front-ends send the region's file here as well; it is not needed and closed.
  [VHOST_USER_REM_MEM_REG, shape("REM_MEM_REG", singleRegionSize, { fds: 1 })],
]);
