import { randomFillSync } from "node:crypto";
import type { DeviceContext, VirtioDevice } from "../device.js";
import { QueueService } from "../queue-service.js";

/** `<linux/virtio_ids.h>` */
export const VIRTIO_ID_RNG = 4;

const QUEUE_SIZE = 64;
/** Bytes answered at most to one request; the specification lets a device write less (section 5.4.6). */
const MAX_REQUEST = 64 << 10;

/** Entropy device (virtio 1.2, section 5.4): the host's random bytes. */
export class RngDevice implements VirtioDevice {
  readonly deviceId = VIRTIO_ID_RNG;
  readonly features = 0n;
  readonly queueSizes = [QUEUE_SIZE];
  readonly config = new Uint8Array(0);
  #requests: QueueService | undefined;

  activate({ queues: [queue], fail }: DeviceContext): void {
    if (queue === undefined) return;
    const serve = (chain: Parameters<typeof queue.addUsed>[0]) => {
      let written = 0;
      for (const buffer of chain.writable) {
        const part = buffer.subarray(0, MAX_REQUEST - written);
        randomFillSync(part);
        written += part.length;
        if (written === MAX_REQUEST) break;
      }
      queue.addUsed(chain, written);
      return true;
    };
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
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
