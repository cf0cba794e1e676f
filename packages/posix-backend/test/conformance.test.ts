import { tmpdir } from "node:os";
import { mount } from "@supermachine/fuse-mount";
import {
  type Feature,
  mountedTarget,
  nativeTarget,
  type Target,
  testDifferential,
  testPosix,
} from "@supermachine-internal/fs-conformance";
import { requireFacility } from "@supermachine-internal/testing";
import { PosixBackend } from "../src/index.js";

function share(name: string, parent: string, lacks: readonly Feature[]): Target {
  return mountedTarget({
    name,
    parent,
    // The kernel's FUSE client takes no such request.
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
  });
}

const { describe } = requireFacility("linux", "root", "fuse", "program:cc");

describe("a share of the temporary directory through /dev/fuse", () => {
  const target = share("the share", tmpdir(), []);
  testPosix(target);
  testDifferential(target, nativeTarget("the temporary directory", tmpdir()));
});

describe("a share of tmpfs through /dev/fuse", () => {
  const target = share("the share", "/dev/shm", ["zero-range"]);
  testPosix(target);
  testDifferential(target, nativeTarget("tmpfs", "/dev/shm"));
});
