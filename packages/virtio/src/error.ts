/** Stable codes of {@link VirtioError}; programs switch on these, people read the message. */
export type VirtioErrorCode =
  | "ERR_VIRTIO_MEMORY_REGION"
  | "ERR_VIRTIO_QUEUE_GEOMETRY"
  | "ERR_VIRTIO_QUEUE_CORRUPT"
  | "ERR_VIRTIO_CHAIN_NOT_IN_FLIGHT"
  | "ERR_VIRTIO_MALFORMED_REQUEST"
  | "ERR_VIRTIO_DEVICE_OPTIONS"
  | "ERR_VIRTIO_STATE_MISMATCH"
  | "ERR_VIRTIO_BLOCK_BACKEND"
  | "ERR_VIRTIO_VSOCK_REFUSED"
  | "ERR_VIRTIO_VSOCK_TIMEOUT"
  | "ERR_VIRTIO_VSOCK_ABORTED"
  | "ERR_VIRTIO_VSOCK_RESET"
  | "ERR_VIRTIO_VSOCK_PEER_SHUTDOWN"
  | "ERR_VIRTIO_VSOCK_PORT_IN_USE"
  | "ERR_VIRTIO_VSOCK_TOO_MANY_CONNECTIONS"
  | "ERR_VIRTIO_VHOST_USER_MESSAGE"
  | "ERR_VIRTIO_VHOST_USER_STATE"
  | "ERR_VIRTIO_VHOST_USER_MEMORY"
  | "ERR_VIRTIO_VHOST_USER_SOCKET"
  | "ERR_VIRTIO_CLOSED";

/** What this package throws and rejects with. */
export class VirtioError extends Error {
  override readonly name: string = "VirtioError";
  readonly code: VirtioErrorCode;

  constructor(code: VirtioErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The driver broke the virtqueue protocol; the device stops until the driver resets it. */
export class VirtqueueError extends VirtioError {
  override readonly name = "VirtqueueError";
}
