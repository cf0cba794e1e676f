/** As long as a client needs at most that is woken on an idle CPU and asks again at once. */
const LONGEST_MS = 0.1;
/** Shorter waits come from a client on the same CPU, which runs only once this thread sleeps. */
const SHORTEST_MS = 0.012;
/** Waits in a row that must be of that kind. */
const ENOUGH = 2;
/** How long no use is made of it once it has cost something. */
const PAUSE_MS = 100;

/**
 * Whether to look for the next request for a while before sleeping. A sleeping thread on an idle CPU takes some
 * 40 us to wake, mostly the processor's own time, and a client that works through many files asks again sooner
 * than that. So waits are watched: a few of that kind in a row, and it pays to stay awake.
 */
export class Patience {
  #fitting = 0;
  #pausedUntil = 0;

  /** Whether to stay awake now. */
  get pays(): boolean {
    return this.#fitting >= ENOUGH;
  }

  /** Told of a sleep in milliseconds. */
  slept(duration: number, now: number): void {
    const fits = duration >= SHORTEST_MS && duration <= LONGEST_MS && now >= this.#pausedUntil;
    this.#fitting = fits ? this.#fitting + 1 : 0;
  }

  /** Whether staying awake has come to an end without a request. */
  isOver(duration: number): boolean {
    return duration > LONGEST_MS;
  }

  /** Told that staying awake brought nothing. */
  failed(duration: number, now: number): void {
    this.#fitting = 0;
    // Another program wanted the CPU meanwhile: then sleeping is better, and waking no slower.
    if (duration > 2 * LONGEST_MS) this.#pausedUntil = now + PAUSE_MS;
  }
}
