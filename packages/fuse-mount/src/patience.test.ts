import { expect, test } from "vitest";
import { Patience } from "./patience.js";

/** A number of sleeps, in milliseconds. */
function after(...sleeps: readonly number[]): Patience {
  const patience = new Patience();
  for (const sleep of sleeps) patience.slept(sleep, 0);
  return patience;
}

test("staying awake pays after sleeps as long as a wake-up takes", () => {
  expect(after().pays).toBe(false);
  expect(after(0.04).pays).toBe(false);
  expect(after(0.04, 0.04).pays).toBe(true);
});

test("a client on the same CPU, or one that is slow, is waited for asleep", () => {
  expect(after(0.005, 0.005, 0.005).pays).toBe(false);
  expect(after(2, 0.2, 30).pays).toBe(false);
  expect(after(0.04, 0.04, 2).pays).toBe(false);
});

test("it ends when nothing comes, and pauses when others wanted the CPU", () => {
  const patience = after(0.04, 0.04);
  expect(patience.isOver(0.05)).toBe(false);
  expect(patience.isOver(0.11)).toBe(true);
  patience.failed(0.11, 10);
  expect(patience.pays).toBe(false);
  for (let i = 0; i < 2; i++) patience.slept(0.04, 10);
  expect(patience.pays).toBe(true);
  patience.failed(4, 20);
  for (let i = 0; i < 9; i++) patience.slept(0.04, 21);
  expect(patience.pays).toBe(false);
  for (let i = 0; i < 2; i++) patience.slept(0.04, 200);
  expect(patience.pays).toBe(true);
});
