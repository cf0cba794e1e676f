import { tmpdir } from "node:os";
import {
  mountedTarget,
  nativeTarget,
  testDifferential,
  testIntegrity,
  testPosix,
} from "@supermachine-internal/fs-conformance";
import { requireFacility } from "@supermachine-internal/testing";
import { share } from "./mounted-share.js";

const { describe } = requireFacility("linux", "root", "fuse", "program:cc");

describe("a share of the temporary directory through /dev/fuse", () => {
  const target = mountedTarget(share("the share", tmpdir()));
  testPosix(target);
  testDifferential(target, nativeTarget("the temporary directory", tmpdir()));
  testIntegrity(target);
});

describe("a share of tmpfs through /dev/fuse", () => {
  const target = mountedTarget(share("the share", "/dev/shm", {}, {}, ["zero-range"]));
  testPosix(target);
  testDifferential(target, nativeTarget("tmpfs", "/dev/shm"));
  testIntegrity(target);
});
