import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
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
  const { pid } = spawnSync("true");
  mkdirSync(join(parent, `supermachine-fork-${pid}-00`));
  mkdirSync(join(parent, `supermachine-fork-${pid}-00.abc.tmp`));
  mkdirSync(join(parent, `supermachine-fork-${process.pid}-00`));
  mkdirSync(join(parent, "another"));
  {
    using directory = new ForkDirectory(parent);
    mkdirSync(directory.path);
    expect(readdirSync(parent)).toHaveLength(3);
  }
  expect(readdirSync(parent).sort()).toEqual(["another", `supermachine-fork-${process.pid}-00`]);
});
