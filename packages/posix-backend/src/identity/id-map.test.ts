import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { PosixBackendError } from "../error.js";
import { IdMap } from "./id-map.js";

test("ids of which no rule speaks stay as they are", () => {
  const map = new IdMap(["map:1000:5000:10"]);
  expect([map.toHost(999), map.toHost(1010), map.toHost(5000)]).toEqual([999, 1010, 5000]);
  expect([map.toGuest(4999), map.toGuest(5010), map.toGuest(1000)]).toEqual([4999, 5010, 1000]);
});

test("each form of rule works in the direction that it says", () => {
  const map = new IdMap([
    "map:0:100000:1000",
    " guest:2000:7:1",
    "host:8:2001:2",
    "squash-guest:3000:65534:1000",
    "squash-host:9000:12:5",
    "forbid-guest:5000:2",
  ]);
  expect([0, 999, 2000, 3000, 3999, 5000, 5001, 5002].map((id) => map.toHost(id))).toEqual([
    100000, 100999, 7, 65534, 65534, -1, -1, 5002,
  ]);
  expect([100000, 100999, 7, 8, 9, 9000, 9004, 9005].map((id) => map.toGuest(id))).toEqual([
    0, 999, 7, 2001, 2002, 12, 12, 9005,
  ]);
});

test("everything can be squashed, to and fro", () => {
  const map = new IdMap(["squash-guest:0:1000:4294967295", "host:1000:0:1"]);
  expect([map.toHost(0), map.toHost(4294967294), map.toGuest(1000)]).toEqual([1000, 1000, 0]);
});

test.each([
  "",
  "map",
  "map:1:2",
  "map:1:2:3:4",
  "map:1:2:0",
  "map:1:-2:3",
  "map:1:2:0x3",
  "map: 1:2:3",
  "other:1:2:3",
  "constructor:1:2:3",
  "map:0:1:4294967295",
  "guest:4294967295:0:1",
  "forbid-guest:1",
  "forbid-guest:1:2:3",
])("refuses the rule %j", (rule) => {
  expect(() => new IdMap([rule])).toThrow(PosixBackendError);
});

test("refuses rules that speak of the same ids", () => {
  expect(() => new IdMap(["map:0:0:10", "guest:9:100:1"])).toThrow("earlier rule");
  expect(() => new IdMap(["guest:9:100:1", "map:0:0:10"])).toThrow("earlier rule");
  expect(() => new IdMap(["map:0:0:10", "host:5:50:1"])).toThrow("earlier rule");
});

const id = fc.integer({ min: 0, max: 200 });
const rule = fc.record({
  type: fc.constantFrom("map", "guest", "host", "squash-guest", "squash-host", "forbid-guest"),
  first: id,
  target: id,
  count: fc.integer({ min: 1, max: 40 }),
});

test("any accepted rules say what each rule says alone, and `map` goes both ways", () => {
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 5 }), id, (rules, probe) => {
      const texts = rules.map(({ type, first, target, count }) =>
        type === "forbid-guest"
          ? `${type}:${first}:${count}`
          : `${type}:${first}:${target}:${count}`,
      );
      let map: IdMap;
      try {
        map = new IdMap(texts);
      } catch (error) {
        expect(error).toBeInstanceOf(PosixBackendError);
        return;
      }
      let toHost = probe;
      let toGuest = probe;
      for (const { type, first, target, count } of rules) {
        const at = probe - first;
        if (at >= 0 && at < count) {
          if (type === "map" || type === "guest") toHost = target + at;
          if (type === "host") toGuest = target + at;
          if (type === "squash-guest") toHost = target;
          if (type === "squash-host") toGuest = target;
          if (type === "forbid-guest") toHost = -1;
        }
        const back = probe - target;
        if (type === "map" && back >= 0 && back < count) toGuest = first + back;
      }
      expect(map.toHost(probe)).toBe(toHost);
      expect(map.toGuest(probe)).toBe(toGuest);
    }),
    { numRuns: runs(300) },
  );
});

test("no text makes the parser throw anything but its own error", () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { maxLength: 4 }), (rules) => {
      try {
        new IdMap(rules);
      } catch (error) {
        expect(error).toBeInstanceOf(PosixBackendError);
      }
    }),
    { numRuns: runs(300) },
  );
});
