/** By how much the clocks of a host may drift apart between two looks, in milliseconds. */
const TOLERANCE_MS = 1000;

/**
 * Tells when the host's wall clock has jumped: it was set, or the host has slept, while its monotonic clock
 * stood still. A guest does not notice either.
 */
export class ClockWatch {
  readonly #wall: () => number;
  readonly #monotonic: () => number;
  #offset: number;

  /** Both in milliseconds. */
  constructor(wall: () => number = Date.now, monotonic: () => number = () => performance.now()) {
    this.#wall = wall;
    this.#monotonic = monotonic;
    this.#offset = wall() - monotonic();
  }

  /** Whether it has jumped since this was last asked. */
  hasJumped(): boolean {
    const offset = this.#wall() - this.#monotonic();
    const jumped = Math.abs(offset - this.#offset) > TOLERANCE_MS;
    this.#offset = offset;
    return jumped;
  }
}
