/** Feature bits every device has, added by the transport (virtio 1.2, section 6). */

/** Chains may live in a table outside the ring (section 2.7.5.3). */
export const VIRTIO_RING_F_INDIRECT_DESC = 1n << 28n;
/** Notifications are asked for by ring index, not by a flag (sections 2.7.7 and 2.7.10). */
export const VIRTIO_RING_F_EVENT_IDX = 1n << 29n;
/** The device is not a legacy one; a driver must accept it. */
export const VIRTIO_F_VERSION_1 = 1n << 32n;

/** What a transport offers on top of the device's own bits. */
export const TRANSPORT_FEATURES =
  VIRTIO_F_VERSION_1 | VIRTIO_RING_F_EVENT_IDX | VIRTIO_RING_F_INDIRECT_DESC;
