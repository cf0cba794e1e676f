import { tmpdir } from "node:os";
import { requireFacility } from "@supermachine-internal/testing";
import { nativeTarget, testDifferential, testIntegrity, testPosix } from "../src/index.js";

const disk = nativeTarget("the temporary directory", tmpdir());
const tmpfs = nativeTarget("tmpfs", "/dev/shm", ["collapse", "zero-range", "same-holes"]);

// A row that fails here is wrong.
requireFacility("linux", "root", "program:cc").describe("the tables hold", () => {
  testPosix(disk);
  testPosix(tmpfs);
});

requireFacility("linux", "root", "program:cc").describe("sequences of commands", () => {
  testDifferential(tmpfs, disk);
});

requireFacility("linux", "root", "program:cc").describe("the model of a file", () => {
  testIntegrity(disk);
});
