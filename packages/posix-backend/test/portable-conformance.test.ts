/** Without O_PATH, /proc and file handles, as on macOS, programs must notice nothing but what is listed as lacking. */
import { tmpdir } from "node:os";
import {
  type Feature,
  mountedTarget,
  nativeTarget,
  testDifferential,
  testIntegrity,
  testPosix,
} from "@supermachine-internal/fs-conformance";
import { requireFacility } from "@supermachine-internal/testing";
import { expect, test, vi } from "vitest";
import { isPortable } from "../src/platform/host.js";
import { share } from "./mounted-share.js";

vi.hoisted(() => vi.stubEnv("SUPERMACHINE_POSIX_PLATFORM", "portable"));

test("these tests run without what Linux has alone", () => {
  expect(isPortable).toBe(true);
});

const lacks: readonly Feature[] = ["tmpfile", "whiteout", "zero-range"];

requireFacility("linux", "root", "fuse", "program:cc").describe("portable calls", () => {
  const target = mountedTarget(share("a portable share", tmpdir(), {}, {}, lacks));
  testPosix(target);
  // Names that move while nothing holds the file are lost now and then: see the README.
  testDifferential(target, nativeTarget("the temporary directory", tmpdir()), { seed: 1 });
  testIntegrity(target);

  const few = { maxFds: 24, cache: "none" } as const;
  const pinned = mountedTarget(share("one with few fds", "/dev/shm", few, {}, lacks));
  testDifferential(pinned, nativeTarget("tmpfs", "/dev/shm"), { inputs: 15, seed: 1 });
});
