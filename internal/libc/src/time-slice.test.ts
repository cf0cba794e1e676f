import { readFileSync } from "node:fs";
import { probeHeaders, requireFacility, structLayout } from "@supermachine-internal/testing";
import { expect } from "vitest";
import { sched_attr, takeShortTurns } from "./time-slice.js";

requireFacility("linux", "program:cc").test("sched_attr is that of the C header", () => {
  const declared = new Map(structLayout(sched_attr));
  const headers = ["linux/types.h", "linux/sched/types.h"];
  expect(probeHeaders({ headers, expressions: declared.keys() })).toEqual(declared);
});

/** Which kernels have that were built to show how they schedule. */
const STATE = "/proc/thread-self/sched";

function scheduling(field: string): number {
  const line = readFileSync(STATE, "latin1")
    .split("\n")
    .find((text) => text.startsWith(field));
  return Number(line?.split(":")[1]);
}

requireFacility("linux", `file:${STATE}`).test(
  "a thread takes shorter turns at the same priority",
  () => {
    const priority = scheduling("prio");
    const slice = scheduling("se.slice");
    takeShortTurns();
    const release = readFileSync("/proc/sys/kernel/osrelease", "latin1");
    const [major = 0, minor = 0] = release.split(".").map(Number);
    const hasSlices = major > 6 || (major === 6 && minor >= 12);
    expect(scheduling("se.slice")).toEqual(hasSlices ? 100_000 : slice);
    expect(scheduling("prio")).toBe(priority);
  },
);
