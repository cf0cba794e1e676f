import { readFileSync } from "node:fs";
import { ENOSYS } from "@supermachine/fuse-protocol";
import koffi from "koffi";
import { expect, test } from "vitest";
import * as linux from "../syscalls/linux.js";
import * as darwin from "./darwin.js";
import { systemCalls } from "./host.js";

test("what is there for macOS has the form that it has for Linux", () => {
  // The compiler compares the arguments; importing looks nothing up that only macOS has.
  const calls: Partial<typeof linux> = darwin;
  expect(Object.keys(calls).filter((name) => !(name in linux))).toEqual(["fsync"]);
});

test("what macOS does not have answers ENOSYS", () => {
  const calls = systemCalls("darwin");
  expect(Object.keys(calls)).toEqual(expect.arrayContaining(Object.keys(linux)));
  const result = calls.copyFileRange(0, 0, 0, 0, 0);
  expect([result, calls.resolveAt(0, new Uint8Array(1), 0)]).toEqual([-ENOSYS, -ENOSYS]);
  expect(systemCalls("linux")).toBe(linux);
});

test("koffi can read every declaration", () => {
  const source = readFileSync(new URL("darwin-native.ts", import.meta.url), "utf8");
  const prototypes = [...source.matchAll(/"((?:int|intptr_t|int64_t) \w+\(.*\))"/g)];
  expect(prototypes.length).toBeGreaterThan(20);
  for (const [i, [, prototype]] of prototypes.entries()) {
    // koffi takes each name once.
    const named = prototype?.replace("(", `_${i}(`) ?? "";
    expect(() => koffi.proto(named)).not.toThrow();
  }
});
