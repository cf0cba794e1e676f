import { tmpdir } from "node:os";
import { requireFacility } from "@supermachine-internal/testing";
import { nativeTarget, testPosix } from "../src/index.js";

// A row that fails here is wrong.
requireFacility("linux", "root", "program:cc").describe("the tables hold", () => {
  testPosix(nativeTarget("the temporary directory", tmpdir()));
  testPosix(nativeTarget("tmpfs", "/dev/shm", ["collapse", "zero-range"]));
});
