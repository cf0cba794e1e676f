import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { Semaphore } from "./semaphore.js";

it("lets no more in than it has permits, in the order in which they came", async () => {
  const semaphore = new Semaphore(3);
  const order: number[] = [];
  let inside = 0;
  await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      using _permit = await semaphore.acquire();
      inside++;
      expect(inside).toBeLessThanOrEqual(3);
      order.push(index);
      await sleep(1);
      inside--;
    }),
  );
  expect(order).toEqual(Array.from({ length: 20 }, (_, index) => index));
});

it("stops waiting when aborted, and nobody loses a permit by that", async () => {
  const semaphore = new Semaphore(1);
  const first = await semaphore.acquire();
  const abort = new AbortController();
  const second = semaphore.acquire(abort.signal);
  const third = semaphore.acquire();
  abort.abort(new Error("enough"));
  await expect(second).rejects.toThrow("enough");
  await expect(semaphore.acquire(abort.signal)).rejects.toThrow("enough");
  first[Symbol.dispose]();
  (await third)[Symbol.dispose]();
  (await semaphore.acquire())[Symbol.dispose]();
});
