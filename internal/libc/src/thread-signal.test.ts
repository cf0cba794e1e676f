import { probeHeaders, requireFacility, structLayout } from "@supermachine-internal/testing";
import { expect } from "vitest";
import { sigaction, takeSignal } from "./thread-signal.js";

requireFacility("linux", "program:cc").test("sigaction is that of the C header", () => {
  const declared = new Map(structLayout(sigaction, (field) => field.startsWith("_")));
  const prelude = "#define _GNU_SOURCE";
  expect(probeHeaders({ headers: ["signal.h"], prelude, expressions: declared.keys() })).toEqual(
    declared,
  );
});

const SIGIO = 29;
const SIGUSR1 = 10;
const SIGURG = 23;

requireFacility("linux").test("a signal is taken once, and never from somebody else", () => {
  expect(takeSignal(SIGURG, "restarts calls")).toBe(true);
  expect(takeSignal(SIGURG, "restarts calls")).toBe(true);
  expect(takeSignal(SIGURG, "ends calls")).toBe(false);
  expect(takeSignal(SIGIO, "ends calls")).toBe(true);
  expect(takeSignal(SIGIO, "restarts calls")).toBe(true);
  const handler = () => {};
  process.on("SIGUSR2", handler);
  expect(takeSignal(12, "restarts calls")).toBe(false);
  process.off("SIGUSR2", handler);
  // Node.js has one for its debugger.
  expect(takeSignal(SIGUSR1, "restarts calls")).toBe(false);
});
