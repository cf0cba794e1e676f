import fc from "fast-check";
import { expect, test } from "vitest";
import { ConsoleLog } from "./console-log.js";

const bytes = (text: string) => Buffer.from(text, "latin1");

test("lines split over several chunks are joined", () => {
  const log = new ConsoleLog();
  for (const part of ["first\r\nsec", "ond", "\nthird"]) log.append(bytes(part));
  expect(log.lines()).toEqual(["first", "second", "third"]);
});

test("a flood keeps only the last lines, each of bounded length", () => {
  const log = new ConsoleLog(3, 10);
  for (let i = 0; i < 1000; i++) log.append(bytes(`${i} ${"x".repeat(100)}\n`));
  log.append(bytes("y".repeat(1_000_000)));
  const lines = log.lines();
  expect(lines).toEqual(["998 xxxxxx", "999 xxxxxx", "yyyyyyyyyy"]);
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(10);
});

test("a kernel panic is remembered after its line has scrolled away", () => {
  const log = new ConsoleLog(2);
  log.append(bytes("[ 0.1] Kernel panic - not syncing: VFS\na\nb\nc\n"));
  expect(log.panic).toContain("VFS");
  expect(log.lines()).toEqual(["b", "c"]);
});

test("the lines are the same however the console is cut into pieces", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "binary", maxLength: 300 }),
      fc.array(fc.nat(40)),
      (text, cuts) => {
        const bytes = Buffer.from(`${text}\nKernel panic - not syncing: oops\r\nend`);
        const whole = new ConsoleLog();
        whole.append(bytes);
        const pieces = new ConsoleLog();
        let at = 0;
        for (const cut of cuts) {
          pieces.append(bytes.subarray(at, at + cut));
          at += cut;
        }
        pieces.append(bytes.subarray(at));
        expect(pieces.lines()).toEqual(whole.lines());
        expect(pieces.panic).toContain("oops");
      },
    ),
  );
});
