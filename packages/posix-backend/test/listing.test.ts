import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { mount } from "@supermachine/fuse-mount";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect } from "vitest";
import { PosixBackend } from "../src/index.js";

const source = fileURLToPath(new URL("listing.c", import.meta.url));
const { test } = requireFacility("linux", "root", "fuse", "program:cc");

/** Directory positions are hashes on ext4, and small numbers in memory. */
const places = ["/tmp", "/dev/shm"].filter((place) => existsSync(place));

for (const place of places) {
  test(`directory streams skip and repeat nothing, over a directory in ${place}`, async () => {
    using dir = new TemporaryDirectory();
    execFileSync("cc", ["-O1", "-o", join(dir.path, "listing"), source]);
    const host = mkdtempSync(join(place, "listing-"));
    try {
      const mountPoint = join(dir.path, "mounted");
      mkdirSync(mountPoint);
      for (const cache of ["none", "always"] as const) {
        using backend = new PosixBackend(host, { cache });
        await using _mounted = await mount(backend, mountPoint);
        const run = promisify(execFile)(join(dir.path, "listing"), [mountPoint]);
        await expect(run, `cache ${cache}`).resolves.toEqual({ stdout: "", stderr: "" });
      }
    } finally {
      rmSync(host, { recursive: true });
    }
  });
}
