import { fuse_in_header, fuse_out_header } from "@supermachine/fuse-protocol";
import type { RequestServer, Session } from "@supermachine/fuse-server";
import {
  FsDevice,
  GuestMemory,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
  Virtqueue,
} from "@supermachine/virtio";
import { DriverQueue, GuestHeap } from "@supermachine/virtio/testing";

/** The queue that a driver of virtio-fs puts its requests into; 0 is the one with priority. */
const REQUEST_QUEUE = 1;
const MEMORY_BYTES = 1 << 20;
const FEATURES = VIRTIO_RING_F_EVENT_IDX | VIRTIO_RING_F_INDIRECT_DESC;

/** Takes requests to a session as a machine does: through a virtqueue and a device. */
export class PracticeQueue implements RequestServer {
  readonly #driver: DriverQueue;
  readonly #device: FsDevice;

  constructor(session: Session) {
    const memory = new GuestMemory([{ guestAddress: 0, buffer: new ArrayBuffer(MEMORY_BYTES) }]);
    this.#device = new FsDevice({ tag: "practice", session });
    const size = this.#device.queueSizes[REQUEST_QUEUE] ?? 1;
    this.#driver = new DriverQueue(
      new GuestHeap(memory, 4096, MEMORY_BYTES - 4096),
      size,
      FEATURES,
    );
    const { descriptorTable, availableRing, usedRing } = this.#driver;
    const queue = new Virtqueue(memory, {
      ...{ size, descriptorTable, availableRing, usedRing, features: FEATURES },
      interrupt: () => {},
    });
    this.#device.activate({
      memory,
      queues: [undefined, queue],
      features: FEATURES,
      raiseConfigChange: () => {},
      fail: () => {},
    });
  }

  handle(
    [input = new Uint8Array(0)]: readonly Uint8Array[],
    [output = new Uint8Array(0)]: readonly Uint8Array[],
    complete: (bytesWritten: number) => void,
  ): void {
    const length = new DataView(input.buffer, input.byteOffset).getUint32(
      fuse_in_header.offsets.len,
      true,
    );
    const { size: inHeader } = fuse_in_header;
    const { size: outHeader } = fuse_out_header;
    // Drivers put headers into buffers of their own.
    const readable = [input.subarray(0, inHeader), input.subarray(inHeader, length)];
    const writable = [outHeader, output.length - outHeader];
    this.#driver.submit(
      readable.filter((bytes) => bytes.length > 0),
      writable,
      { indirect: true },
    );
    this.#device.notify(REQUEST_QUEUE);
    for (const { data } of this.#driver.collect()) {
      output.set(data);
      complete(data.length);
    }
  }
}
