// @ts-check
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LAB_GROUPS, REPORTS, summarize, summaryLine } from "../test-report.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** @type {string} */
let directory;
beforeAll(() => {
  // Below the project: the tests in it import vitest.
  directory = mkdtempSync(join(ROOT, "node_modules", ".report-test-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

test("passes, failures, skips with their reasons and broken files are counted from a real run", () => {
  writeFileSync(
    join(directory, "some.test.mjs"),
    `import { describe, expect, test } from "vitest";
     test("one", () => {});
     test("two", () => expect(1).toBe(2));
     test("three", (context) => context.skip("because"));
     describe.skip("four [needs fuse: not there]", () => test("x", () => {}));
     test.skip("five", () => {});`,
  );
  writeFileSync(join(directory, "broken.test.mjs"), "throw new Error('cannot load');");
  writeFileSync(join(directory, "vitest.config.mjs"), "export default {}");
  const report = join(directory, "report.json");
  const reporter = join(ROOT, "scripts", "json-reporter.mjs");
  const vitest = join(ROOT, "node_modules", ".bin", "vitest");
  const args = ["run", `--reporter=${reporter}`, `--outputFile.json=${report}`];
  spawnSync(vitest, args, { cwd: directory });
  const summary = summarize([report]);
  expect(summaryLine(summary)).toBe("1 passed, 2 failed, 3 skipped");
  expect(summary.skipped.map(({ facility, reason }) => [facility, reason])).toEqual([
    [undefined, "because"],
    ["fuse", "not there"],
    [undefined, undefined],
  ]);
});

test("a report that is missing or cut short is a failure, and the others still count", () => {
  const whole = join(directory, "whole.json");
  const assertionResults = [{ status: "passed", fullName: "one" }];
  const report = { testResults: [{ name: "a", status: "passed", assertionResults }] };
  writeFileSync(whole, JSON.stringify(report));
  const cut = join(directory, "cut.json");
  writeFileSync(cut, readFileSync(whole, "utf8").slice(0, 40));
  expect(summaryLine(summarize([whole, cut, join(directory, "none.json")]))).toBe(
    "1 passed, 2 failed, 0 skipped",
  );
});

test("the closing line is the same numbers", () => {
  const script = join(ROOT, "scripts", "print-summary.mjs");
  const { stdout } = spawnSync(process.execPath, [script, directory], { encoding: "utf8" });
  expect(stdout).toBe(`0 passed, ${REPORTS.length} failed, 0 skipped\n`);
});

test("every test of the lab belongs to one group", () => {
  const inside = readdirSync(new URL("../../lab/inside/", import.meta.url))
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => `lab/inside/${name}`);
  const grouped = LAB_GROUPS.flatMap(([, files]) => files).filter((file) =>
    file.startsWith("lab/inside/"),
  );
  expect([...grouped].sort()).toEqual(inside.sort());
});
