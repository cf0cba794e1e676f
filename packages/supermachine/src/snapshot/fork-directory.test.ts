import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ForkDirectory } from "./fork-directory.js";

let parent: string;
beforeAll(() => {
  parent = mkdtempSync(join(tmpdir(), "forks-"));
});
afterAll(() => rmSync(parent, { recursive: true }));

test("it removes itself, and what processes that are gone have left", () => {
  mkdirSync(join(parent, "supermachine-fork-0123456789ab", "snapshot"), { recursive: true });
  mkdirSync(join(parent, "another"));
  {
    using directory = new ForkDirectory(parent);
    mkdirSync(directory.path);
    using other = new ForkDirectory(parent);
    expect(existsSync(directory.path)).toBe(true);
    expect(readdirSync(parent)).toHaveLength(3);
    expect(other.path).not.toBe(directory.path);
  }
  expect(readdirSync(parent)).toEqual(["another"]);
});
