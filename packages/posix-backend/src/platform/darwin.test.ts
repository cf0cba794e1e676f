import { readFileSync } from "node:fs";
import koffi from "koffi";
import { expect, test } from "vitest";
import type * as linux from "../syscalls/linux.js";
import * as darwin from "./darwin.js";

test("what is there for macOS has the form that it has for Linux", () => {
  // The compiler compares the arguments; importing looks nothing up that only macOS has.
  const calls: Partial<typeof linux> = darwin;
  expect(Object.keys(calls).length).toBeGreaterThan(30);
});

test("koffi can read every declaration", () => {
  const source = readFileSync(new URL("darwin.ts", import.meta.url), "utf8");
  const prototypes = [...source.matchAll(/"((?:int|intptr_t|int64_t) \w+\(.*\))"/g)];
  expect(prototypes.length).toBeGreaterThan(20);
  for (const [, prototype] of prototypes) expect(() => koffi.proto(prototype ?? "")).not.toThrow();
});
