import { expect, test } from "vitest";
import { ClockWatch } from "./clock-watch.js";

test("a host that slept, or whose clock was set, is noticed once", () => {
  let wall = 1_700_000_000_000;
  let monotonic = 5000;
  const pass = (wallMs: number, monotonicMs = wallMs) => {
    wall += wallMs;
    monotonic += monotonicMs;
  };
  const watch = new ClockWatch(
    () => wall,
    () => monotonic,
  );
  pass(10_000);
  expect(watch.hasJumped()).toBe(false);
  pass(10_000, 9_990);
  expect(watch.hasJumped()).toBe(false);
  pass(3_600_000, 10_000);
  expect(watch.hasJumped()).toBe(true);
  expect(watch.hasJumped()).toBe(false);
  pass(-60_000, 10_000);
  expect(watch.hasJumped()).toBe(true);
});
