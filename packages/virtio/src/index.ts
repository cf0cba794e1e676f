/**
 * Virtio devices in TypeScript: split virtqueues, virtio-mmio and vhost-user transports, fs, vsock, console, blk, rng and balloon.
 *
 * @packageDocumentation
 */
export { BalloonDevice } from "./device/balloon/balloon-device.js";
export type { MemoryStatistics } from "./device/balloon/statistics.js";
export type { BlockBackend } from "./device/block/backend.js";
export { BlockDevice, type BlockOptions } from "./device/block/block-device.js";
export { FileBlockBackend, type FileBlockBackendOptions } from "./device/block/file-backend.js";
export {
  ConsoleDevice,
  type ConsoleOptions,
  type ConsoleSize,
} from "./device/console/console-device.js";
export type { DeviceContext, SharedMemoryRegion, VirtioDevice } from "./device/device.js";
export {
  type CacheWindow,
  FsDevice,
  type FsOptions,
  type FuseRequestHandler,
  VIRTIO_FS_SHMCAP_ID_CACHE,
} from "./device/fs/fs-device.js";
export { QueueService, type QueueServiceOptions } from "./device/queue-service.js";
export { RngDevice } from "./device/rng/rng-device.js";
export {
  type VsockConnectOptions,
  VsockDevice,
  type VsockOptions,
} from "./device/vsock/vsock-device.js";
export { VsockStream } from "./device/vsock/vsock-stream.js";
export { VirtioError, type VirtioErrorCode, VirtqueueError } from "./error.js";
export {
  TRANSPORT_FEATURES,
  VIRTIO_F_VERSION_1,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
} from "./feature.js";
export {
  type CopiedMemory,
  GuestMemory,
  type GuestMemoryRegion,
  type GuestMemoryView,
} from "./memory/guest-memory.js";
export { DescriptorChain } from "./queue/descriptor-chain.js";
export { gather, scatter, sliceBuffers, totalLength } from "./queue/scatter.js";
export { type QueueCounters, Virtqueue, type VirtqueueOptions } from "./queue/virtqueue.js";
export {
  type MmioCounters,
  MmioDevice,
  type MmioDeviceOptions,
  type MmioState,
  type QueueState,
} from "./transport/mmio.js";
export {
  MMIO_CONFIG_SIZE,
  MMIO_WINDOW_SIZE,
  VIRTIO_MMIO_QUEUE_NOTIFY,
} from "./transport/mmio-layout.js";
export {
  MmioAction,
  type MmioDeviceIdentity,
  type MmioQueueRegisters,
  MmioRegisters,
  type MmioSharedMemory,
} from "./transport/mmio-registers.js";
export { VhostUserError } from "./transport/vhost-user/error.js";
export {
  serveVhostUser,
  type VhostUserLogger,
  type VhostUserServer,
  type VhostUserServerOptions,
} from "./transport/vhost-user/server.js";
