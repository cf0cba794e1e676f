import type { MountOptions } from "@supermachine/fuse-mount";
import {
  type Feature,
  mountedTarget,
  nativeTarget,
  testDifferential,
  testIntegrity,
  testPosix,
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
    // Where the client keeps writes for a while, the host's holes are other ones meanwhile.
    const lacks: readonly Feature[] = options.writeback === true ? ["same-holes"] : [];
    const target = mountedTarget(share(name, "/dev/shm", options, mountOptions, lacks));
    testDifferential(target, nativeTarget("tmpfs", "/dev/shm"), { inputs: 15 });
    testIntegrity(target, { inputs: 8 });
    if (options.locks === true)
      testPosix({ ...target, lacks: [...lacks, "collapse", "zero-range"] });
  }
});
