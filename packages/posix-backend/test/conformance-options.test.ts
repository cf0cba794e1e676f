import type { MountOptions } from "@supermachine/fuse-mount";
import {
  mountedTarget,
  nativeTarget,
  testDifferential,
  testIntegrity,
} from "@supermachine-internal/fs-conformance";
import { requireFacility } from "@supermachine-internal/testing";
import type { PosixBackendOptions } from "../src/index.js";
import { share } from "./mounted-share.js";

/** What programs must not notice. */
const variants: Record<string, [PosixBackendOptions, MountOptions?]> = {
  "a share that caches nothing": [{ cache: "none" }],
  "a share that caches all": [{ cache: "always" }],
  "a share that writes back": [{ writeback: true }],
  "a share without passthrough": [{}, { passthrough: false }],
  "a share with an fd for each inode": [{ inodeFileHandles: "never" }],
  "a share with locks on the host": [{ locks: true }],
  "a share with access control lists": [{ posixAcl: true }],
};

requireFacility("linux", "root", "fuse", "program:cc").describe("whatever its options", () => {
  for (const [name, [options, mountOptions]] of Object.entries(variants)) {
    const target = mountedTarget(share(name, "/dev/shm", options, mountOptions));
    testDifferential(target, nativeTarget("tmpfs", "/dev/shm"), { inputs: 15 });
    testIntegrity(target, { inputs: 8 });
  }
});
