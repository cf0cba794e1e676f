import { execFileSync } from "node:child_process";
import { requireFacility, runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type InitramfsEntry, writeInitramfs } from "./cpio.js";

const withCpio = requireFacility("program:cpio");

const entries: InitramfsEntry[] = [
  { path: "dev", type: "directory" },
  { path: "dev/console", type: "character-device", major: 5, minor: 1 },
  { path: "bin", type: "directory", mode: 0o700 },
  { path: "bin/tool", type: "file", mode: 0o4755, data: Buffer.from("12345") },
  { path: "sbin", type: "symlink", target: "bin" },
];

describe("writeInitramfs", () => {
  withCpio.test("writes what cpio(1) lists with types, modes, sizes and devices", () => {
    const listing = execFileSync("cpio", ["-tv", "--quiet", "-n"], {
      input: writeInitramfs(entries),
    });
    const lines = listing.toString().trim().split("\n");
    const columns = lines.map((line) => line.replace(/\s+/g, " ").replace(/ Jan 1 1970/, ""));
    expect(columns).toEqual([
      "drwxr-xr-x 1 0 0 0 dev",
      "crw------- 1 0 0 5, 1 dev/console",
      "drwx------ 1 0 0 0 bin",
      "-rwsr-xr-x 1 0 0 5 bin/tool",
      "lrwxrwxrwx 1 0 0 3 sbin -> bin",
    ]);
  });

  withCpio.test("keeps contents of any size", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 5 }), (contents) => {
        const archive = writeInitramfs(
          contents.map((data, i) => ({ path: `f${"x".repeat(i)}`, type: "file", data })),
        );
        const out = execFileSync("cpio", ["-i", "--to-stdout", "--quiet"], { input: archive });
        expect(out.equals(Buffer.concat(contents))).toBe(true);
      }),
      { numRuns: runs(20) },
    );
  });

  it("gives the same bytes for the same entries, padded to four", () => {
    expect(writeInitramfs(entries)).toEqual(writeInitramfs(entries));
    expect(writeInitramfs(entries).length % 4).toBe(0);
  });

  it.each(["/abs", "a/../b", "a//b", ".", "", "a/", "nul\0", "TRAILER!!!", "x".repeat(4096)])(
    "refuses the path %j",
    (path) => {
      expect(() => writeInitramfs([{ path, type: "directory" }])).toThrow(
        expect.objectContaining({ code: "ERR_INITRAMFS_ENTRY" }),
      );
    },
  );

  it("refuses a path that appears twice", () => {
    const twice: InitramfsEntry = { path: "a", type: "directory" };
    expect(() => writeInitramfs([twice, twice])).toThrow(/twice/);
  });
});
