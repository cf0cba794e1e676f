import fc from "fast-check";
import { expect, test } from "vitest";
import { ABSENT, ClientView, NOTHING } from "./client-view.js";

const told = fc.record({
  parent: fc.integer({ min: 1, max: 5 }),
  name: fc.string({ unit: "binary", maxLength: 3 }),
  meaning: fc.constantFrom(ABSENT, NOTHING, undefined, 2, 3, 2 ** 40 + 2),
});

test("what a name is said to stand for is what was told last", () => {
  const view = new ClientView();
  fc.assert(
    fc.property(fc.array(told, { maxLength: 50 }), (tellings) => {
      view.clear();
      const latest = new Map<string, number | undefined>();
      for (const { parent, name, meaning } of tellings) {
        view.tellName(parent, name, meaning);
        latest.set(`${parent}/${name}`, meaning);
      }
      for (const { parent, name } of tellings) {
        const expected = latest.get(`${parent}/${name}`);
        // Forgotten it may be, when another name took its place.
        expect([expected, undefined]).toContain(view.meaning(parent, name));
      }
    }),
  );
});

test("of more names than fit, each is known rightly or not at all, and the latest are known", () => {
  const view = new ClientView();
  const count = 200_000;
  for (let i = 0; i < count; i++) view.tellName(1 + (i % 7), `name-${i}`, i + 2);
  let known = 0;
  for (let i = 0; i < count; i++) {
    const meaning = view.meaning(1 + (i % 7), `name-${i}`);
    if (meaning === undefined) continue;
    if (meaning !== i + 2) expect.fail(`name-${i} is said to stand for ${meaning}`);
    known++;
  }
  expect(known).toBeGreaterThan(50_000);
  expect(view.meaning(1 + ((count - 1) % 7), `name-${count - 1}`)).toBe(count + 1);
});

test("views of the same memory share what they know", () => {
  const one = new ClientView();
  const other = new ClientView(one.memory);
  one.tellName(1, "name", 7);
  one.complete = true;
  expect([other.meaning(1, "name"), other.complete]).toEqual([7, true]);
  other.clientChanges(7);
  expect(one.echo(7, 100, 5)).toBe("asks");
  one.tellAttributes(7, 100, 5);
  expect([other.echo(7, 100, 5), other.echo(7, 100, 6)]).toEqual(["seen", "none"]);
});

test("without a change by the client, nothing is an echo of one", () => {
  const view = new ClientView();
  view.tellAttributes(7, 100, 5);
  expect(view.echo(7, 100, 5)).toBe("none");
  expect(view.echo(8, 100, 5)).toBe("none");
});
