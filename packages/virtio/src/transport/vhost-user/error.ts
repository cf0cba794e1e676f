import { VirtioError } from "../../error.js";

/**
 * What a vhost-user front-end did wrong, or could not be given:
 * - `ERR_VIRTIO_VHOST_USER_MESSAGE`: bytes that are no request (unknown, cut off, wrong size, too many descriptors)
 * - `ERR_VIRTIO_VHOST_USER_STATE`: a well-formed request that cannot be served in this state
 * - `ERR_VIRTIO_VHOST_USER_MEMORY`: guest memory that cannot be mapped, or an address outside of it
 * - `ERR_VIRTIO_VHOST_USER_SOCKET`: the socket cannot be listened on
 */
export class VhostUserError extends VirtioError {
  override readonly name = "VhostUserError";
}
