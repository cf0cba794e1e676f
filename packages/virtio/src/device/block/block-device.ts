import type { DescriptorChain } from "../../queue/descriptor-chain.js";
import { sliceBuffers } from "../../queue/scatter.js";
import type { Virtqueue } from "../../queue/virtqueue.js";
import type { DeviceContext, VirtioDevice } from "../device.js";
import { QueueService } from "../queue-service.js";
import type { BlockBackend } from "./backend.js";
import {
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
  VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
  VIRTIO_ID_BLOCK,
  virtioBlkConfig,
  virtioBlkDiscardWriteZeroes,
  virtioBlkOuthdr,
} from "./block-layout.js";

export interface BlockOptions {
  /** The disk; the device closes it. */
  readonly backend: BlockBackend;
  /** What the guest sees in /sys/block/vdX/serial, at most 20 bytes of ASCII; default empty. */
  readonly id?: string;
  /** Hears of a backend's failure; the guest gets an I/O error. */
  readonly onError?: (error: Error) => void;
}

const SECTOR = 512;
const QUEUE_SIZE = 256;
/** Data segments of one request: the queue's size without header and status. */
const SEGMENT_LIMIT = QUEUE_SIZE - 2;
/** Sectors of one DISCARD or WRITE_ZEROES range (4 MiB): it blocks the device's thread while it runs. */
const MAX_RANGE_SECTORS = 8192;
const MAX_RANGES = 16;
/** Data of one request in bytes, far above what a driver sends: a chain may name the same page again and again. */
const MAX_DATA = 64 << 20;

/**
 * Block device (virtio 1.2, section 5.2) over a {@link BlockBackend}. Requests are served one after
 * the other, in place in guest memory.
 */
export class BlockDevice implements VirtioDevice {
  readonly deviceId = VIRTIO_ID_BLOCK;
  readonly features: bigint;
  readonly queueSizes = [QUEUE_SIZE];
  readonly config = new Uint8Array(virtioBlkConfig.size);
  readonly #backend: BlockBackend;
  readonly #id = new Uint8Array(VIRTIO_BLK_ID_BYTES);
  readonly #onError: ((error: Error) => void) | undefined;
  readonly #header = new Uint8Array(virtioBlkOuthdr.size);
  readonly #headerView = new DataView(this.#header.buffer);
  readonly #status = new Uint8Array(1);
  #requests: QueueService | undefined;

  constructor(options: BlockOptions) {
    const { backend } = options;
    this.#backend = backend;
    this.#onError = options.onError;
    new TextEncoder().encodeInto(options.id ?? "", this.#id);
    const canDiscard = !backend.readOnly && backend.discardSync !== undefined;
    const canWriteZeroes = !backend.readOnly && backend.writeZeroesSync !== undefined;
    this.features =
      VIRTIO_BLK_F_SEG_MAX |
      VIRTIO_BLK_F_BLK_SIZE |
      (backend.readOnly ? VIRTIO_BLK_F_RO : VIRTIO_BLK_F_FLUSH) |
      (canDiscard ? VIRTIO_BLK_F_DISCARD : 0n) |
      (canWriteZeroes ? VIRTIO_BLK_F_WRITE_ZEROES : 0n);
    const { offsets } = virtioBlkConfig;
    const config = new DataView(this.config.buffer);
    config.setBigUint64(offsets.capacity, BigInt(backend.capacity / SECTOR), true);
    config.setUint32(offsets.seg_max, SEGMENT_LIMIT, true);
    config.setUint32(offsets.blk_size, SECTOR, true);
    if (canDiscard) {
      config.setUint32(offsets.max_discard_sectors, MAX_RANGE_SECTORS, true);
      config.setUint32(offsets.max_discard_seg, MAX_RANGES, true);
      config.setUint32(offsets.discard_sector_alignment, 1, true);
    }
    if (canWriteZeroes) {
      config.setUint32(offsets.max_write_zeroes_sectors, MAX_RANGE_SECTORS, true);
      config.setUint32(offsets.max_write_zeroes_seg, MAX_RANGES, true);
    }
  }

  activate({ queues: [queue], fail }: DeviceContext): void {
    if (queue === undefined) return;
    const serve = (chain: DescriptorChain) => this.#serve(queue, chain);
    this.#requests = new QueueService(queue, { serve, fail });
  }

  notify(): void {
    this.#requests?.run();
  }

  reset(): void {
    this.#requests?.stop();
    this.#requests = undefined;
  }

  close(): void {
    this.reset();
    this.#backend.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** A request: header, data either way, and a status in the last writable byte (section 5.2.6). */
  #serve(queue: Virtqueue, chain: DescriptorChain): true {
    const room = chain.writableLength - 1;
    // Without a place for the status there is no way to answer; such a request is just handed back.
    if (room < 0) {
      queue.addUsed(chain, 0);
      return true;
    }
    let status = VIRTIO_BLK_S_IOERR;
    if (chain.read(0, this.#header) === virtioBlkOuthdr.size) {
      try {
        status = this.#execute(chain, room);
      } catch (error) {
        this.#onError?.(error instanceof Error ? error : new Error(String(error)));
      }
    }
    this.#status[0] = status;
    chain.write(room, this.#status);
    queue.addUsed(chain, room + 1);
    return true;
  }

  #execute(chain: DescriptorChain, room: number): number {
    const type = this.#headerView.getUint32(virtioBlkOuthdr.offsets.type, true);
    const payload = chain.readableLength - virtioBlkOuthdr.size;
    switch (type) {
      case VIRTIO_BLK_T_IN: {
        const offset = this.#offset(this.#headerView, virtioBlkOuthdr.offsets.sector, room);
        if (offset === undefined) return VIRTIO_BLK_S_IOERR;
        if (room > 0) this.#backend.readSync(sliceBuffers(chain.writable, 0, room), offset);
        return VIRTIO_BLK_S_OK;
      }
      case VIRTIO_BLK_T_OUT: {
        const offset = this.#offset(this.#headerView, virtioBlkOuthdr.offsets.sector, payload);
        if (offset === undefined || this.#backend.readOnly) return VIRTIO_BLK_S_IOERR;
        const data = sliceBuffers(chain.readable, virtioBlkOuthdr.size, payload);
        if (payload > 0) this.#backend.writeSync(data, offset);
        return VIRTIO_BLK_S_OK;
      }
      case VIRTIO_BLK_T_FLUSH:
        this.#backend.flushSync();
        return VIRTIO_BLK_S_OK;
      case VIRTIO_BLK_T_GET_ID:
        chain.write(0, this.#id.subarray(0, room));
        return VIRTIO_BLK_S_OK;
      case VIRTIO_BLK_T_DISCARD:
        return this.#forEachRange(chain, payload, 0, this.#backend.discardSync);
      case VIRTIO_BLK_T_WRITE_ZEROES:
        return this.#forEachRange(
          chain,
          payload,
          VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
          this.#backend.writeZeroesSync,
        );
      default:
        return VIRTIO_BLK_S_UNSUPP;
    }
  }

  /** The byte offset of the u64 sector at `at`, when `length` bytes from there are whole sectors of the disk. */
  #offset(view: DataView, at: number, length: number): number | undefined {
    const sector = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
    if (length % SECTOR !== 0 || length > MAX_DATA) return undefined;
    return sector <= (this.#backend.capacity - length) / SECTOR ? sector * SECTOR : undefined;
  }

  #forEachRange(
    chain: DescriptorChain,
    payload: number,
    allowedFlags: number,
    operation: ((offset: number, length: number) => void) | undefined,
  ): number {
    if (operation === undefined || this.#backend.readOnly) return VIRTIO_BLK_S_UNSUPP;
    const { size, offsets } = virtioBlkDiscardWriteZeroes;
    if (payload === 0 || payload % size !== 0 || payload > size * MAX_RANGES) {
      return VIRTIO_BLK_S_IOERR;
    }
    const ranges = new DataView(new ArrayBuffer(payload));
    chain.read(virtioBlkOuthdr.size, new Uint8Array(ranges.buffer));
    for (let at = 0; at < payload; at += size) {
      if (ranges.getUint32(at + offsets.flags, true) & ~allowedFlags) return VIRTIO_BLK_S_UNSUPP;
      const length = ranges.getUint32(at + offsets.num_sectors, true) * SECTOR;
      const offset = this.#offset(ranges, at + offsets.sector, length);
      if (offset === undefined || length > MAX_RANGE_SECTORS * SECTOR) return VIRTIO_BLK_S_IOERR;
      operation.call(this.#backend, offset, length);
    }
    return VIRTIO_BLK_S_OK;
  }
}
