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
  /**
   * For how long at most to look for the next request before waiting for its doorbell, in milliseconds. A
   * driver that waits for each answer has it sooner, for processor time. Default 0.
   */
  readonly pollMs?: number | undefined;
}

/** Requests served before the event loop gets its turn: a busy guest must not stop the host's control of it. */
const BATCH = 256;

/** Drains a virtqueue: no request is missed, doorbells and interrupts are batched. */
export class QueueService {
  readonly queue: Virtqueue;
  readonly #serve: (chain: DescriptorChain) => boolean | undefined;
  readonly #fail: (reason: Error) => void;
  readonly #poll: AdaptivePoll | undefined;
  #scheduled: NodeJS.Immediate | undefined;

  constructor(queue: Virtqueue, options: QueueServiceOptions) {
    this.queue = queue;
    this.#serve = options.serve;
    this.#fail = options.fail;
    if (options.pollMs) this.#poll = new AdaptivePoll(this.queue, options.pollMs);
  }

  /** Serves what there is; the doorbell's handler. */
  run(): void {
    const { queue } = this;
    try {
      let left = BATCH;
      this.#poll?.begin();
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
      } while (this.#poll?.arrivesSoon() === true || queue.enableNotifications());
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

/** Where polling starts again after it was of no use, in milliseconds. */
const SHORTEST_POLL_MS = 0.01;
/** Looks at the ring between two looks at the clock. */
const LOOKS = 32;
/** How long there is no polling when another program has wanted the processor meanwhile, in milliseconds. */
const PAUSE_MS = 100;

/**
 * Waits for requests by looking at the ring, for as long as that has paid off: longer when the next one
 * came soon after it was given up, half as long each time it was in vain.
 */
class AdaptivePoll {
  readonly #queue: Virtqueue;
  readonly #longest: number;
  #now = 0;
  #gaveUpAt = 0;
  #pausedUntil = 0;

  constructor(queue: Virtqueue, longestMs: number) {
    this.#queue = queue;
    this.#longest = longestMs;
  }

  /** A doorbell has rung. */
  begin(): void {
    const now = performance.now();
    if (now - this.#gaveUpAt < this.#longest && now > this.#pausedUntil) {
      this.#now = Math.min(Math.max(this.#now * 2, SHORTEST_POLL_MS), this.#longest);
    }
  }

  /** Whether a request arrives within the time that it is worth to wait. */
  arrivesSoon(): boolean {
    const start = performance.now();
    this.#gaveUpAt = start;
    if (this.#now === 0) return false;
    const deadline = start + this.#now;
    let end = start;
    do {
      for (let i = 0; i < LOOKS; i++) if (this.#queue.hasAvailable()) return true;
      end = performance.now();
    } while (end < deadline);
    this.#now = this.#now < SHORTEST_POLL_MS ? 0 : this.#now / 2;
    if (end - deadline > this.#longest) {
      this.#now = 0;
      this.#pausedUntil = end + PAUSE_MS;
    }
    return false;
  }
}
