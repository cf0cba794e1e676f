import type { Session } from "@supermachine/fuse-server";

/** Far more than there are requests that wait to be interrupted. */
const PLACES = 64;

/**
 * Interrupts whose requests are pending at another thread, or will be in a moment: the kernel hands an
 * INTERRUPT to any thread that reads, and once only. They are kept in shared memory, because a thread
 * that has just read the request cannot be told yet. Most are of requests that are answered already:
 * the oldest are overwritten.
 */
export class StrayInterrupts {
  readonly #next: Int32Array;
  readonly #uniques: BigUint64Array;

  /** @param memory - Made by {@link StrayInterrupts.memory}. */
  constructor(memory: SharedArrayBuffer) {
    this.#next = new Int32Array(memory, 0, 1);
    this.#uniques = new BigUint64Array(memory, BigUint64Array.BYTES_PER_ELEMENT, PLACES);
  }

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer((PLACES + 1) * BigUint64Array.BYTES_PER_ELEMENT);
  }

  add(unique: bigint): void {
    const place = (Atomics.add(this.#next, 0, 1) >>> 0) % PLACES;
    Atomics.store(this.#uniques, place, unique);
  }

  /** Interrupts what is pending in a session. */
  deliver(session: Session): void {
    for (let place = 0; place < PLACES; place++) {
      const unique = Atomics.load(this.#uniques, place);
      if (unique === 0n || !session.interrupt(unique)) continue;
      Atomics.compareExchange(this.#uniques, place, unique, 0n);
    }
  }
}
