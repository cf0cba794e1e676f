/** What holds for the backend on Linux, without what Linux has alone: see `portable-calls.ts`. */
import { describe, expect, test, vi } from "vitest";
import { isPortable } from "../src/platform/host.js";

vi.hoisted(() => vi.stubEnv("SUPERMACHINE_POSIX_PLATFORM", "portable"));

test("these tests run without what Linux has alone", () => {
  expect(isPortable).toBe(true);
});

for (const [name, load] of Object.entries({
  operations: () => import("./backend.test.js"),
  confinement: () => import("./confinement.test.js"),
  credentials: () => import("./credentials.test.js"),
  directories: () => import("./directories.test.js"),
  flush: () => import("./flush.test.js"),
  limits: () => import("./limits.test.js"),
  locks: () => import("./locks.test.js"),
  "saved nodes": () => import("./node-snapshot.test.js"),
  nodes: () => import("./node-table.test.js"),
  options: () => import("./options.test.js"),
  races: () => import("./race.test.js"),
})) {
  describe(name, async () => {
    await load();
  });
}
