/** Lets a number of holders in at a time; others wait in the order in which they came. */
export class Semaphore {
  readonly #waiting = new Set<() => void>();
  #permits: number;

  constructor(permits: number) {
    this.#permits = permits;
  }

  /**
   * Waits for a permit, to be given back by disposing it.
   *
   * @param signal gives up waiting; it rejects with the signal's reason then.
   */
  async acquire(signal?: AbortSignal): Promise<Disposable> {
    signal?.throwIfAborted();
    if (this.#permits > 0) this.#permits--;
    else await this.#wait(signal);
    return { [Symbol.dispose]: () => this.#release() };
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.delete(enter);
        reject(signal?.reason);
      };
      const enter = () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting.add(enter);
    });
  }

  #release(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#permits++;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
