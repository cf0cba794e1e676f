import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  mountedTarget,
  nativeTarget,
  testDifferential,
  testIntegrity,
  testPosix,
  testReadOnly,
} from "@supermachine-internal/fs-conformance";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
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

describe("a read-only share through /dev/fuse", () => {
  testReadOnly("the share", async () => {
    const directory = new TemporaryDirectory();
    const host = join(directory.path, "host");
    const path = join(directory.path, "mounted");
    for (const each of [host, path]) mkdirSync(each);
    let mounted: AsyncDisposable | undefined;
    return {
      host,
      async mount() {
        const both = { readOnly: true };
        mounted = await share("the share", host, both, both).mount(path, host);
        return path;
      },
      async [Symbol.asyncDispose]() {
        await mounted?.[Symbol.asyncDispose]();
        directory[Symbol.dispose]();
      },
    };
  });
});
