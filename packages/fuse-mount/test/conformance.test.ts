import { MemoryFs } from "@supermachine/fuse-server";
import {
  mountedTarget,
  nativeTarget,
  testDifferential,
  testIntegrity,
  testPosix,
} from "@supermachine-internal/fs-conformance";
import { requireFacility } from "@supermachine-internal/testing";
import { mount } from "../src/index.js";

requireFacility("linux", "root", "fuse", "program:cc").describe("a mounted MemoryFs", () => {
  const target = mountedTarget({
    name: "MemoryFs",
    // Of the first the kernel's FUSE client knows nothing.
    lacks: ["collapse", "same-holes", "groups"],
    mount: (path) =>
      mount(new MemoryFs(), path, { allowOther: true, allowSetuid: true, allowDevices: true }),
  });
  testPosix(target);
  testDifferential(target, nativeTarget("tmpfs", "/dev/shm"));
  testIntegrity(target);
});
