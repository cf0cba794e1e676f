import { expect, test } from "vitest";
import * as api from "./index.js";
import * as testing from "./testing/index.js";

test("the public names change on purpose only", () => {
  expect(Object.keys(api).sort()).toMatchInlineSnapshot(`
    [
      "BalloonDevice",
      "BlockDevice",
      "ConsoleDevice",
      "DescriptorChain",
      "FileBlockBackend",
      "FsDevice",
      "GuestMemory",
      "MMIO_CONFIG_SIZE",
      "MMIO_WINDOW_SIZE",
      "MmioAction",
      "MmioDevice",
      "MmioRegisters",
      "QueueService",
      "RngDevice",
      "TRANSPORT_FEATURES",
      "VIRTIO_FS_SHMCAP_ID_CACHE",
      "VIRTIO_F_VERSION_1",
      "VIRTIO_MMIO_QUEUE_NOTIFY",
      "VIRTIO_RING_F_EVENT_IDX",
      "VIRTIO_RING_F_INDIRECT_DESC",
      "VhostUserError",
      "VirtioError",
      "Virtqueue",
      "VirtqueueError",
      "VsockDevice",
      "VsockStream",
      "gather",
      "scatter",
      "serveVhostUser",
      "sliceBuffers",
      "totalLength",
    ]
  `);
  expect(Object.keys(testing).sort()).toMatchInlineSnapshot(`
    [
      "DriverQueue",
      "GuestHeap",
      "MmioDriver",
    ]
  `);
});
