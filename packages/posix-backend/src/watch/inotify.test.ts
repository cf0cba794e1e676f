import { encodeName } from "@supermachine/fuse-protocol";
import { probeHeaders, requireFacility, runs, structLayout } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import * as inotify from "./inotify.js";
import { inotifyEventStruct, parseEvents } from "./inotify.js";

type Event = readonly [wd: number, mask: number, name: string];

const event: fc.Arbitrary<Event> = fc.tuple(
  fc.integer({ min: -1, max: 2 ** 31 - 1 }),
  fc.nat({ max: 2 ** 32 - 1 }),
  fc.string({ unit: "binary", maxLength: 60 }).filter((name) => !/[\0/\ud800-\udfff]/u.test(name)),
);

/** As the kernel writes it: the name ends with a NUL and is filled up to a multiple of 16 bytes. */
function encode([wd, mask, name]: Event): Uint8Array {
  const bytes = encodeName(name);
  const len = bytes.length === 0 ? 0 : Math.ceil((bytes.length + 1) / 16) * 16;
  const event = new Uint8Array(inotifyEventStruct.size + len);
  inotifyEventStruct.encode({ wd, mask, cookie: 0, len }, event);
  event.set(bytes, inotifyEventStruct.size);
  return event;
}

function parse(bytes: Uint8Array): { events: Event[]; whole: boolean } {
  const events: Event[] = [];
  const whole = parseEvents(bytes, (...event) => events.push(event));
  return { events, whole };
}

test("events are read back as they were written", () => {
  fc.assert(
    fc.property(fc.array(event), (events) => {
      expect(parse(Buffer.concat(events.map(encode)))).toEqual({ events, whole: true });
    }),
    { numRuns: runs(200) },
  );
});

test("of bytes that end inside an event, the events before it are read", () => {
  fc.assert(
    fc.property(
      fc.array(event, { minLength: 1 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (events, cut) => {
        const encoded = events.map(encode);
        const bytes = Buffer.concat(encoded);
        const length = Math.floor((bytes.length - 1) * cut);
        const ends = encoded.map((_, i) => Buffer.concat(encoded.slice(0, i + 1)).length);
        const before = events.filter((_, i) => (ends[i] ?? 0) <= length);
        const whole = length === 0 || ends.includes(length);
        expect(parse(bytes.subarray(0, length))).toEqual({ events: before, whole });
      },
    ),
    { numRuns: runs(200) },
  );
});

test("any bytes are parsed without harm", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(parse(bytes).events.length).toBeLessThanOrEqual(
        bytes.length / inotifyEventStruct.size,
      );
    }),
    { numRuns: runs(500) },
  );
});

requireFacility("linux", "program:cc").test("numbers and layout are those of sys/inotify.h", () => {
  const constants = Object.entries(inotify).filter(([name]) => name.startsWith("IN_"));
  const declared = new Map([
    ...constants.map(([name, value]): [string, bigint] => [name, BigInt(value as number)]),
    ...structLayout(inotifyEventStruct),
  ]);
  const probe = { headers: ["sys/inotify.h"], expressions: declared.keys() };
  expect(probeHeaders(probe)).toEqual(declared);
});
