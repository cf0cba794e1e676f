import { defineStruct } from "@supermachine-internal/struct";

/** `<linux/virtio_ids.h>` */
export const VIRTIO_ID_VSOCK = 19;

/** `<linux/vm_sockets.h>`: the address of the host. */
export const VMADDR_CID_HOST = 2;

/** `<linux/virtio_vsock.h>` */
export const virtioVsockConfig = defineStruct("virtio_vsock_config", 8, { guest_cid: "u64" });

export const virtioVsockEvent = defineStruct("virtio_vsock_event", 4, { id: "u32" });

export const virtioVsockHdr = defineStruct("virtio_vsock_hdr", 44, {
  src_cid: "u64",
  dst_cid: "u64",
  src_port: "u32",
  dst_port: "u32",
  len: "u32",
  type: "u16",
  op: "u16",
  flags: "u32",
  buf_alloc: "u32",
  fwd_cnt: "u32",
});

export const VIRTIO_VSOCK_EVENT_TRANSPORT_RESET = 0;

export const VIRTIO_VSOCK_TYPE_STREAM = 1;

export const VIRTIO_VSOCK_OP_REQUEST = 1;
export const VIRTIO_VSOCK_OP_RESPONSE = 2;
export const VIRTIO_VSOCK_OP_RST = 3;
export const VIRTIO_VSOCK_OP_SHUTDOWN = 4;
export const VIRTIO_VSOCK_OP_RW = 5;
export const VIRTIO_VSOCK_OP_CREDIT_UPDATE = 6;
export const VIRTIO_VSOCK_OP_CREDIT_REQUEST = 7;

export const VIRTIO_VSOCK_SHUTDOWN_RCV = 1;
export const VIRTIO_VSOCK_SHUTDOWN_SEND = 2;
export const VIRTIO_VSOCK_SHUTDOWN_BOTH = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;
