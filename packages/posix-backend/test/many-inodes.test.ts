import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Facility, requireFacility } from "@supermachine-internal/testing";
import { expect } from "vitest";

// The process with so few fds runs built code.
const built: Facility = `file:${fileURLToPath(new URL("../dist/index.js", import.meta.url))}`;

/** In memory where there is such a place: so many files take a disk long to make and to remove. */
const parent = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const script = fileURLToPath(new URL("many-inodes.mjs", import.meta.url));

for (const [inodeFileHandles, why] of [
  ["prefer", "by their file handles"],
  ["never", "by their names"],
] as const) {
  requireFacility("linux", built).test(
    `50,000 inodes stay usable with 1,024 fds, reopened ${why}`,
    async () => {
      const directory = mkdtempSync(join(parent, "many-inodes-"));
      try {
        const command = 'ulimit -n 1024 && exec "$0" "$@"';
        const run = [process.execPath, script, directory, "50000", inodeFileHandles];
        const { stdout } = await promisify(execFile)("bash", ["-c", command, ...run]);
        const { nodes, fds, left } = JSON.parse(stdout);
        expect(nodes).toBe(50_000 + 100 + 1);
        expect(fds).toBeLessThan(1024);
        expect(left).toBe(1);
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
    120_000,
  );
}
