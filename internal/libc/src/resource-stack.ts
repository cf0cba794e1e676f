/** Owns resources and releases them in reverse order: `DisposableStack`, which Node.js 20 lacks. */
export class ResourceStack implements Disposable {
  readonly #resources: Disposable[] = [];

  /** Takes ownership of `resource` and returns it. */
  use<T extends Disposable>(resource: T): T {
    this.#resources.push(resource);
    return resource;
  }

  /** Runs `release` when the stack is disposed. */
  defer(release: () => void): void {
    this.#resources.push({ [Symbol.dispose]: release });
  }

  /** Releases everything, once; the first error is thrown after the rest is released. */
  dispose(): void {
    let failed = false;
    let failure: unknown;
    for (let resource = this.#resources.pop(); resource; resource = this.#resources.pop()) {
      try {
        resource[Symbol.dispose]();
      } catch (error) {
        if (!failed) failure = error;
        failed = true;
      }
    }
    if (failed) throw failure;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
