import { readFileSync } from "node:fs";
import koffi from "koffi";
import { expect, test } from "vitest";
import { darwinPosixCalls } from "./darwin.js";
import * as linux from "./linux-calls.js";
import { linuxPosixCalls } from "./portable/linux-posix-calls.js";
import { portableCalls } from "./portable/portable-calls.js";

test("every system call has a route on macOS", () => {
  // That the arguments are the same is for the compiler; importing looks nothing up that only macOS has.
  expect(Object.keys(portableCalls(darwinPosixCalls)).sort()).toEqual(Object.keys(linux).sort());
  expect(Object.keys(darwinPosixCalls)).toEqual(
    expect.arrayContaining(Object.keys(linuxPosixCalls)),
  );
});

test("koffi can read every declaration", () => {
  const files = ["darwin-native.ts", "darwin-data.ts"];
  const source = files.map((file) => readFileSync(new URL(file, import.meta.url), "utf8")).join();
  const prototypes = [...source.matchAll(/"((?:int|intptr_t|int64_t) \w+\(.*\))"/g)];
  expect(prototypes.length).toBeGreaterThan(30);
  for (const [i, [, prototype]] of prototypes.entries()) {
    // koffi takes each name once.
    const named = prototype?.replace("(", `_${i}(`) ?? "";
    expect(() => koffi.proto(named)).not.toThrow();
  }
});
