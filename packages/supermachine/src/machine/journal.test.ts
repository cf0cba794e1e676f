import fc from "fast-check";
import { expect, test } from "vitest";
import { Journal } from "./journal.js";

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

test("a reader goes on after the cursor it was given", async () => {
  const journal = new Journal<string>(10);
  for (const entry of ["a", "b", "c"]) journal.append(entry);
  const [first] = await all(journal.read(0, false));
  expect(first).toEqual({ cursor: 1, entry: "a" });
  expect((await all(journal.read(1, false))).map(({ entry }) => entry)).toEqual(["b", "c"]);
  expect(await all(journal.read(3, false))).toEqual([]);
});

test("a reader that is overtaken sees the latest entries, and the gap in its cursors", async () => {
  const journal = new Journal<number>(3);
  const reader = journal.read(0, true);
  journal.append(0);
  expect((await reader.next()).value).toEqual({ cursor: 1, entry: 0 });
  for (let i = 1; i < 10; i++) journal.append(i);
  journal.close();
  expect(await all(reader)).toEqual([7, 8, 9].map((entry) => ({ cursor: entry + 1, entry })));
});

test("after it was cleared, nobody reads what was there, and cursors go on", async () => {
  const journal = new Journal<string>(10);
  journal.append("a");
  const reader = journal.read(0, true);
  journal.clear();
  journal.append("b");
  journal.close();
  expect(await all(reader)).toEqual([{ cursor: 2, entry: "b" }]);
});

test("one that follows waits for entries, and ends when there will be no more", async () => {
  const journal = new Journal<string>(10);
  const read = all(journal.read(0, true));
  journal.append("a");
  await new Promise((resolve) => setImmediate(resolve));
  journal.append("b");
  journal.close();
  expect((await read).map(({ entry }) => entry)).toEqual(["a", "b"]);
});

test("an aborted reader ends, also while it waits", async () => {
  const journal = new Journal<string>(10);
  const abort = new AbortController();
  const read = all(journal.read(0, true, abort.signal));
  await new Promise((resolve) => setImmediate(resolve));
  abort.abort();
  expect(await read).toEqual([]);
});

test("what is kept is bounded, and is the end of what was written", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ maxLength: 20 })),
      fc.integer({ min: 1, max: 50 }),
      async (entries, capacity) => {
        const journal = new Journal<string>(capacity, ({ length }) => length);
        for (const entry of entries) journal.append(entry);
        const kept = (await all(journal.read(0, false))).map(({ entry }) => entry);
        expect(kept).toEqual(entries.slice(entries.length - kept.length));
        if (kept.length > 1) expect(kept.join("").length).toBeLessThanOrEqual(capacity);
      },
    ),
  );
});
