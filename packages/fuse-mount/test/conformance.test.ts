import { MemoryFs } from "@supermachine/fuse-server";
import { mountedTarget, testPosix } from "@supermachine-internal/fs-conformance";
import { requireFacility } from "@supermachine-internal/testing";
import { mount } from "../src/index.js";

const memory = mountedTarget({
  name: "a mounted MemoryFs",
  lacks: ["collapse"],
  mount: (path) =>
    mount(new MemoryFs(), path, { allowOther: true, allowSetuid: true, allowDevices: true }),
});

requireFacility("linux", "root", "fuse", "program:cc").describe("a mounted MemoryFs", () => {
  testPosix(memory);
});
