import { defineStruct } from "@supermachine-internal/struct";

// ioctl(2) requests of /dev/fuse, as on every architecture but MIPS, PowerPC and SPARC.
/** Argument: a `uint32_t`, the fd of the session to join. */
export const FUSE_DEV_IOC_CLONE = 0x8004e500;
/** Argument: {@link fuse_backing_map}. Returns a backing id. */
export const FUSE_DEV_IOC_BACKING_OPEN = 0x4010e501;
/** Argument: a `uint32_t`, the backing id. */
export const FUSE_DEV_IOC_BACKING_CLOSE = 0x4004e502;
/** Makes mount(2) wait for the reply to INIT. */
export const FUSE_DEV_IOC_SYNC_INIT = 0xe503;

export const fuse_backing_map = defineStruct("fuse_backing_map", 16, {
  fd: "s32",
  flags: "u32",
  padding: "u64",
});

// FUSE over io_uring
export const FUSE_URING_IN_OUT_HEADER_SZ = 128;
export const FUSE_URING_OP_IN_OUT_SZ = 128;
export const FUSE_IO_URING_CMD_INVALID = 0;
export const FUSE_IO_URING_CMD_REGISTER = 1;
export const FUSE_IO_URING_CMD_COMMIT_AND_FETCH = 2;

export const fuse_uring_ent_in_out = defineStruct("fuse_uring_ent_in_out", 32, {
  flags: "u64",
  commit_id: "u64",
  payload_sz: "u32",
  padding: "u32",
  reserved: "u64",
});
export const fuse_uring_req_header = defineStruct("fuse_uring_req_header", 288, {
  in_out: { bytes: FUSE_URING_IN_OUT_HEADER_SZ },
  op_in: { bytes: FUSE_URING_OP_IN_OUT_SZ },
  ring_ent_in_out: { bytes: fuse_uring_ent_in_out.size },
});
export const fuse_uring_cmd_req = defineStruct("fuse_uring_cmd_req", 24, {
  flags: "u64",
  commit_id: "u64",
  qid: "u16",
  padding: { bytes: 6 },
});
