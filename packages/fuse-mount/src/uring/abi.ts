import { defineStruct } from "@supermachine-internal/struct";

// linux/io_uring.h, as far as FUSE needs it.

export const SYS_io_uring_setup = 425;
export const SYS_io_uring_enter = 426;
export const SYS_io_uring_register = 427;

/** Submission queue entries of 128 bytes, which commands with arguments of their own take. */
export const IORING_SETUP_SQE128 = 1 << 10;
export const IORING_FEAT_SINGLE_MMAP = 1 << 0;
export const IORING_ENTER_GETEVENTS = 1 << 0;

export const IORING_REGISTER_EVENTFD = 4;
export const IORING_UNREGISTER_EVENTFD = 5;

export const IORING_OP_POLL_ADD = 6;
export const IORING_OP_URING_CMD = 46;

export const IORING_OFF_SQ_RING = 0;
export const IORING_OFF_SQES = 0x1000_0000;

export const io_sqring_offsets = defineStruct("io_sqring_offsets", 40, {
  head: "u32",
  tail: "u32",
  ring_mask: "u32",
  ring_entries: "u32",
  flags: "u32",
  dropped: "u32",
  array: "u32",
  resv1: "u32",
  resv2: "u64",
});

export const io_cqring_offsets = defineStruct("io_cqring_offsets", 40, {
  head: "u32",
  tail: "u32",
  ring_mask: "u32",
  ring_entries: "u32",
  overflow: "u32",
  cqes: "u32",
  flags: "u32",
  resv1: "u32",
  resv2: "u64",
});

export const io_uring_params = defineStruct("io_uring_params", 120, {
  sq_entries: "u32",
  cq_entries: "u32",
  flags: "u32",
  sq_thread_cpu: "u32",
  sq_thread_idle: "u32",
  features: "u32",
  wq_fd: "u32",
  resv: { bytes: 12 },
  sq_off: { bytes: io_sqring_offsets.size },
  cq_off: { bytes: io_cqring_offsets.size },
});

/** The first half; with {@link IORING_SETUP_SQE128} `cmd` goes on to 128 bytes. */
export const io_uring_sqe = defineStruct("io_uring_sqe", 64, {
  opcode: "u8",
  flags: "u8",
  ioprio: "u16",
  fd: "s32",
  cmd_op: "u32",
  __pad1: "u32",
  addr: "u64",
  len: "u32",
  poll32_events: "u32",
  user_data: "u64",
  buf_index: "u16",
  personality: "u16",
  file_index: "u32",
  cmd: { bytes: 16 },
});

export const io_uring_cqe = defineStruct("io_uring_cqe", 16, {
  user_data: "u64",
  res: "s32",
  flags: "u32",
});
