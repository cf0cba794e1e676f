import { tmpdir } from "node:os";
import { mount } from "@supermachine/fuse-mount";
import { mountedTarget, testPosix } from "@supermachine-internal/fs-conformance";
import { requireFacility } from "@supermachine-internal/testing";
import { PosixBackend } from "../src/index.js";

const targets = [
  { name: "a share of the temporary directory", parent: tmpdir(), lacks: [] },
  { name: "a share of tmpfs", parent: "/dev/shm", lacks: ["zero-range"] as const },
].map(({ name, parent, lacks }) =>
  mountedTarget({
    name,
    parent,
    lacks: ["collapse", ...lacks],
    async mount(path, host) {
      const backend = new PosixBackend(host);
      const options = { allowOther: true, allowSetuid: true, allowDevices: true };
      const mounted = await mount(backend, path, options);
      return {
        async [Symbol.asyncDispose]() {
          await mounted[Symbol.asyncDispose]();
          backend.close();
        },
      };
    },
  }),
);

requireFacility("linux", "root", "fuse", "program:cc").describe("shares through /dev/fuse", () => {
  for (const target of targets) testPosix(target);
});
