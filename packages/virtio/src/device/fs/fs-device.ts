import { defineStruct } from "@supermachine-internal/struct";
import { VirtioError } from "../../error.js";
import type { DescriptorChain } from "../../queue/descriptor-chain.js";
import type { Virtqueue } from "../../queue/virtqueue.js";
import type { DeviceContext, SharedMemoryRegion, VirtioDevice } from "../device.js";
import { QueueService } from "../queue-service.js";

/** `<linux/virtio_ids.h>` */
export const VIRTIO_ID_FS = 26;

/** `<linux/virtio_fs.h>`: the shared memory region that files are mapped into (DAX). */
export const VIRTIO_FS_SHMCAP_ID_CACHE = 0;

/** Bytes of a tag, NUL padded. */
const TAG_BYTES = 36;

/** `<linux/virtio_fs.h>` */
export const virtioFsConfig = defineStruct("virtio_fs_config", 40, {
  tag: { bytes: TAG_BYTES },
  num_request_queues: "u32",
});

/** Serves FUSE requests; `FuseSession` of `@supermachine/fuse-server` is one. */
export interface FuseRequestHandler {
  /**
   * Serves the request in `input` and writes the reply into `output`, both in place in guest memory.
   * Calls `complete` once, now or later, with the length of the reply; 0 where there is none (FORGET).
   * The buffers must not be touched after that.
   */
  handle(
    input: readonly Uint8Array[],
    output: readonly Uint8Array[],
    complete: (bytesWritten: number) => void,
  ): void;
}

/** The DAX window: the session maps files into it, and the guest accesses them there. */
export type CacheWindow = Omit<SharedMemoryRegion, "id">;

export interface FsOptions {
  /** The name that the guest mounts, 1 to 36 bytes of UTF-8. */
  readonly tag: string;
  readonly session: FuseRequestHandler;
  /** Default 1. */
  readonly requestQueues?: number;
  /** Names an opcode in {@link FsDevice.counters}. Default: `opcode N`. */
  readonly opcodeName?: ((opcode: number) => string) | undefined;
  /** How long to look for requests before waiting for a doorbell, as of `QueueServiceOptions`. */
  readonly pollMs?: number | undefined;
  /** Default: none, and the guest cannot mount with `-o dax`. The caller closes it after the device. */
  readonly cacheWindow?: CacheWindow | undefined;
  /**
   * The device lost its queues: the driver reset it, or the transport has to set it up anew. So this is not the end
   * of the FUSE session, which a driver that was reset starts anew with INIT.
   */
  readonly onReset?: () => void;
}

/** `<linux/fuse.h>`: where `struct fuse_in_header` has the opcode, and how many there may be. */
const OPCODE_OFFSET = 4;
const OPCODES = 64;
const MAX_REQUEST_QUEUES = 64;
/** A FUSE_READ or FUSE_WRITE of 1 MiB takes 256 pages and 2 headers; Linux caps itself at the queue's size. */
const QUEUE_SIZE = 512;

/** Linux divides the window into ranges of this size and maps one range of a file into each. */
const DAX_RANGE = 2 << 20;

function cacheRegion(window: CacheWindow | undefined): SharedMemoryRegion | undefined {
  if (window === undefined) return undefined;
  const { length, hostAddress } = window;
  if (length <= 0 || length % DAX_RANGE !== 0 || hostAddress % BigInt(DAX_RANGE) !== 0n) {
    throw new VirtioError(
      "ERR_VIRTIO_DEVICE_OPTIONS",
      `a cache window of ${length} bytes at 0x${hostAddress.toString(16)}: must be a multiple of 2 MiB, aligned to it`,
    );
  }
  return {
    id: VIRTIO_FS_SHMCAP_ID_CACHE,
    length,
    hostAddress,
    read: (offset, target) => window.read(offset, target),
    write: (offset, source) => window.write(offset, source),
    repair: () => window.repair?.() ?? false,
  };
}

/** File system device (virtio 1.2, section 5.11): each request of each queue goes to a FUSE session. */
export class FsDevice implements VirtioDevice {
  readonly deviceId = VIRTIO_ID_FS;
  readonly features = 0n;
  readonly queueSizes: readonly number[];
  readonly sharedMemory: SharedMemoryRegion | undefined;
  readonly config = new Uint8Array(virtioFsConfig.size);
  readonly #session: FuseRequestHandler;
  readonly #opcodeName: (opcode: number) => string;
  readonly #pollMs: number | undefined;
  readonly #onReset: (() => void) | undefined;
  /** Requests by opcode; those without one that is known count as 0. */
  readonly #opcodes = new Float64Array(OPCODES);
  /** Queue 0 has priority (FORGET, INTERRUPT); its requests are served the same way. */
  #services: (QueueService | undefined)[] = [];

  /** @throws VirtioError `ERR_VIRTIO_DEVICE_OPTIONS` for a tag, a number of queues or a window out of range. */
  constructor(options: FsOptions) {
    const tag = new TextEncoder().encode(options.tag);
    if (tag.length === 0 || tag.length > TAG_BYTES || options.tag.includes("\0")) {
      throw new VirtioError(
        "ERR_VIRTIO_DEVICE_OPTIONS",
        `virtio-fs tag ${JSON.stringify(options.tag)}: must be 1 to ${TAG_BYTES} bytes without NUL`,
      );
    }
    const requestQueues = options.requestQueues ?? 1;
    if (
      !Number.isInteger(requestQueues) ||
      requestQueues < 1 ||
      requestQueues > MAX_REQUEST_QUEUES
    ) {
      throw new VirtioError(
        "ERR_VIRTIO_DEVICE_OPTIONS",
        `virtio-fs with ${requestQueues} request queues: must be 1 to ${MAX_REQUEST_QUEUES}`,
      );
    }
    this.sharedMemory = cacheRegion(options.cacheWindow);
    this.config.set(tag);
    new DataView(this.config.buffer).setUint32(
      virtioFsConfig.offsets.num_request_queues,
      requestQueues,
      true,
    );
    this.queueSizes = new Array<number>(1 + requestQueues).fill(QUEUE_SIZE);
    this.#session = options.session;
    this.#opcodeName = options.opcodeName ?? ((opcode) => `opcode ${opcode}`);
    this.#pollMs = options.pollMs;
    this.#onReset = options.onReset;
  }

  activate({ queues, fail }: DeviceContext): void {
    this.#services = queues.map((queue) => {
      if (queue === undefined) return undefined;
      const serve = this.#serveFrom(queue);
      return new QueueService(queue, { serve, fail, pollMs: this.#pollMs });
    });
  }

  notify(queueIndex: number): void {
    this.#services[queueIndex]?.run();
  }

  /** Requests by their opcode; only those that came. */
  counters(): Record<string, number> {
    const counts: Record<string, number> = {};
    this.#opcodes.forEach((count, opcode) => {
      if (count > 0) counts[this.#opcodeName(opcode)] = count;
    });
    return counts;
  }

  reset(): void {
    const wasActive = this.#services.length > 0;
    for (const service of this.#services) service?.stop();
    this.#services = [];
    if (wasActive) this.#onReset?.();
  }

  close(): void {
    this.reset();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #serveFrom(queue: Virtqueue): (chain: DescriptorChain) => boolean {
    return (chain) => {
      // Its low byte tells all opcodes there are; a first buffer without it counts as opcode 0.
      const opcode = chain.readable[0]?.[OPCODE_OFFSET] ?? 0;
      const slot = opcode < OPCODES ? opcode : 0;
      this.#opcodes[slot] = (this.#opcodes[slot] ?? 0) + 1;
      if (chain.readableLength === 0) queue.addUsed(chain, 0);
      else this.#session.handle(chain.readable, chain.writable, chain.complete);
      return true;
    };
  }
}
