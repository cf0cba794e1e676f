import type { DescriptorChain } from "../queue/descriptor-chain.js";
import type { Virtqueue } from "../queue/virtqueue.js";

export interface QueueServiceOptions {
  /**
   * Serves one request; hands the chain back now or later with `addUsed` or `complete`. Answers
   * `false` when it cannot serve yet: the request goes back, and `run()` is called again later.
   */
  readonly serve: (chain: DescriptorChain) => boolean | undefined;
  /** Hears what `serve` threw: the device's own fault. */
  readonly fail: (reason: Error) => void;
}

/** Requests served before the event loop gets its turn: a busy guest must not stop the host's control of it. */
const BATCH = 256;

/** Drains a virtqueue: no request is missed, doorbells and interrupts are batched. */
export class QueueService {
  readonly queue: Virtqueue;
  readonly #serve: (chain: DescriptorChain) => boolean | undefined;
  readonly #fail: (reason: Error) => void;
  #scheduled: NodeJS.Immediate | undefined;

  constructor(queue: Virtqueue, options: QueueServiceOptions) {
    this.queue = queue;
    this.#serve = options.serve;
    this.#fail = options.fail;
  }

  /** Serves what there is; the doorbell's handler. */
  run(): void {
    const { queue } = this;
    try {
      let left = BATCH;
      do {
        queue.disableNotifications();
        for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
          if (this.#serve(chain) === false) {
            queue.unpop(chain);
            queue.notifyUsed();
            return;
          }
          if (--left === 0) {
            queue.notifyUsed();
            this.#scheduled ??= setImmediate(() => {
              this.#scheduled = undefined;
              this.run();
            });
            return;
          }
        }
        queue.notifyUsed();
      } while (queue.enableNotifications());
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Serves no more. */
  stop(): void {
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled);
    this.#scheduled = undefined;
  }
}
