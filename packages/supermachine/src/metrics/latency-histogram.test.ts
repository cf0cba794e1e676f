import fc from "fast-check";
import { expect, test } from "vitest";
import { LatencyHistogram } from "./latency-histogram.js";

test("a latency counts in the first bucket that reaches it", () => {
  const histogram = new LatencyHistogram();
  for (const seconds of [0.001, 0.0011, 1000, -1, Number.NaN]) histogram.record(seconds);
  const { buckets, count, totalSeconds } = histogram.read();
  expect(buckets.filter((bucket) => bucket.count > 0)).toEqual([
    { upToSeconds: 0.001, count: 3 },
    { upToSeconds: 0.0025, count: 1 },
    { upToSeconds: Number.POSITIVE_INFINITY, count: 1 },
  ]);
  expect(count).toBe(5);
  expect(totalSeconds).toBeCloseTo(1000.0021);
});

test("no latency is lost or counted twice", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1e6, noNaN: true })), (latencies) => {
      const histogram = new LatencyHistogram();
      for (const seconds of latencies) histogram.record(seconds);
      const { buckets, count } = histogram.read();
      expect(count).toBe(latencies.length);
      let below = 0;
      for (const bucket of buckets) {
        below += bucket.count;
        expect(below).toBe(latencies.filter((seconds) => seconds <= bucket.upToSeconds).length);
      }
    }),
  );
});
