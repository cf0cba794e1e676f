import fc from "fast-check";
import { expect, test } from "vitest";
import { JsonLines } from "./json-lines.js";

test("values arrive whole and in order, however the bytes are cut", () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), fc.array(fc.nat(30)), (values, cuts) => {
      const bytes = Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(""));
      const received: unknown[] = [];
      const lines = new JsonLines((value) => received.push(value));
      let at = 0;
      for (const cut of cuts) {
        lines.push(bytes.subarray(at, at + cut));
        at += cut;
      }
      lines.push(bytes.subarray(at));
      expect(received).toEqual(JSON.parse(JSON.stringify(values)));
    }),
  );
});

test("any bytes either are values or a SyntaxError", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), (chunks) => {
      const lines = new JsonLines(() => {}, 100);
      try {
        for (const chunk of chunks) lines.push(Buffer.from(chunk));
      } catch (error) {
        expect(error).toBeInstanceOf(SyntaxError);
      }
    }),
  );
});

test("a line without end is refused before it takes memory", () => {
  const lines = new JsonLines(() => {}, 1000);
  expect(() => {
    for (let i = 0; i < 100; i++) lines.push(Buffer.alloc(100, "x"));
  }).toThrow("over 1000 characters");
});
