/** Upper bounds of the buckets, in seconds: what a person tells apart, from a fast exec to a slow build. */
const BOUNDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
] as const;

/** How long something took, each time, as counts per range. */
export interface LatencyMetrics {
  /** How many took at most `upToSeconds`, and longer than the bucket before; the last one is unbounded. */
  readonly buckets: readonly { readonly upToSeconds: number; readonly count: number }[];
  readonly count: number;
  /** All of them together. */
  readonly totalSeconds: number;
}

/** Counts latencies in fixed buckets: its size does not grow. */
export class LatencyHistogram {
  readonly #counts = new Float64Array(BOUNDS.length + 1);
  #totalSeconds = 0;

  /** Negative and unordered values, such as those of a clock that was set back, count as 0. */
  record(seconds: number): void {
    const value = seconds > 0 ? seconds : 0;
    const found = BOUNDS.findIndex((bound) => value <= bound);
    const bucket = found === -1 ? BOUNDS.length : found;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#totalSeconds += value;
  }

  read(): LatencyMetrics {
    const buckets = Array.from(this.#counts, (count, index) => {
      return { upToSeconds: BOUNDS[index] ?? Number.POSITIVE_INFINITY, count };
    });
    const count = this.#counts.reduce((sum, value) => sum + value, 0);
    return { buckets, count, totalSeconds: this.#totalSeconds };
  }
}
