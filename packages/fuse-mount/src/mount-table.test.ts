import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseMountTable } from "./mount-table.js";

describe("a mount table", () => {
  it("is read with optional fields, blanks and names that are not ASCII", () => {
    const text = [
      "22 28 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw",
      "99 28 0:57 / /mnt/a\\040b\\134c\xc3\xa9 rw shared:1 master:2 - fuse.supermachine - rw,user_id=0",
      "100 28 0:58 / /mnt/- rw - fuse.x x rw",
      "broken line",
      "",
    ].join("\n");
    expect(parseMountTable(text)).toEqual([
      { device: "0:20", path: "/sys", type: "sysfs" },
      { device: "0:57", path: "/mnt/a b\\cé", type: "fuse.supermachine" },
      { device: "0:58", path: "/mnt/-", type: "fuse.x" },
    ]);
  });

  it("of arbitrary text gives entries or none", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        for (const entry of parseMountTable(text)) expect(typeof entry.type).toBe("string");
      }),
    );
  });
});
