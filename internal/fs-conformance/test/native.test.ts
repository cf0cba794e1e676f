import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import {
  nativeTarget,
  testDifferential,
  testIntegrity,
  testPosix,
  testReadOnly,
} from "../src/index.js";

const disk = nativeTarget("the temporary directory", tmpdir());
const tmpfs = nativeTarget("tmpfs", "/dev/shm", ["collapse", "zero-range", "same-holes"]);

// A row that fails here is wrong.
requireFacility("linux", "root", "program:cc").describe("the tables hold", () => {
  testPosix(disk);
  testPosix(tmpfs);
});

requireFacility("linux", "root", "program:cc", "program:mount").describe("the list holds", () => {
  testReadOnly("a read-only bind mount", async () => {
    const directory = new TemporaryDirectory();
    const host = join(directory.path, "host");
    const path = join(directory.path, "mounted");
    for (const each of [host, path]) mkdirSync(each);
    return {
      host,
      async mount() {
        execFileSync("mount", ["--bind", host, path]);
        execFileSync("mount", ["-o", "remount,bind,ro", path]);
        return path;
      },
      async [Symbol.asyncDispose]() {
        execFileSync("umount", [path]);
        directory[Symbol.dispose]();
      },
    };
  });
});

requireFacility("linux", "root", "program:cc").describe("sequences of commands", () => {
  testDifferential(tmpfs, disk);
});

requireFacility("linux", "root", "program:cc").describe("the model of a file", () => {
  testIntegrity(disk);
});
