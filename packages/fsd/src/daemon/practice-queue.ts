import type { RequestServer, Session } from "@supermachine/fuse-server";
import {
  FsDevice,
  GuestMemory,
  scatter,
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
    input: readonly Uint8Array[],
    output: readonly Uint8Array[],
    complete: (bytesWritten: number) => void,
  ): void {
    const readable = input.filter(({ length }) => length > 0);
    const writable = output.map(({ length }) => length);
    this.#driver.submit(readable, writable, { indirect: true });
    this.#device.notify(REQUEST_QUEUE);
    for (const { data } of this.#driver.collect()) {
      scatter(output, 0, data);
      complete(data.length);
    }
  }
}
