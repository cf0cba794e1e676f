import type { VirtioDevice } from "@supermachine/virtio";
import { QemuError } from "./error.js";

/** Device ids of virtio 1.2, section 5. */
const VIRTIO_ID_VSOCK = 19;
const VIRTIO_ID_FS = 26;
/** `struct virtio_fs_config` starts with the tag, padded with NUL. */
const FS_TAG_BYTES = 36;
/** The most QEMU accepts; what a guest uses at once. */
const FS_QUEUE_SIZE = 512;

/** The QEMU device that gives a device of ours to the guest. */
export function frontEndFor(device: VirtioDevice): {
  device: string;
  properties: Record<string, string | number>;
} {
  switch (device.deviceId) {
    case VIRTIO_ID_VSOCK:
      return { device: "vhost-user-vsock-device", properties: {} };
    case VIRTIO_ID_FS: {
      const bytes = device.config.subarray(0, FS_TAG_BYTES);
      const end = bytes.indexOf(0);
      const tag = new TextDecoder().decode(bytes.subarray(0, end === -1 ? undefined : end));
      const properties = {
        tag,
        // The first queue is the priority queue.
        "num-request-queues": device.queueSizes.length - 1,
        "queue-size": Math.min(FS_QUEUE_SIZE, ...device.queueSizes),
      };
      return { device: "vhost-user-fs-device", properties };
    }
    default:
      throw new QemuError(
        "ERR_QEMU_OPTION",
        `QEMU cannot give the guest a virtio device with id ${device.deviceId}: ` +
          "file systems (26) and vsock (19) work; give disks as `disks`",
      );
  }
}
