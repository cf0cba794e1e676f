// @ts-check
// What the test runners' own JSON reports say, added up.
import { readFileSync } from "node:fs";

/**
 * Tests that drive /dev/kvm, each group in a lab of its own: a lab that freezes takes less with it.
 * The second lists beginnings of paths of test files.
 *
 * @type {readonly (readonly [name: string, files: readonly string[]])[]}
 */
export const LAB_GROUPS = [
  ["kvm", ["packages/kvm/test/conformance", "packages/kvm/test/kick-storm"]],
  ["vmm", ["packages/vmm/test/machine"]],
  ["run", inside("dax", "memory", "run", "thread")],
  ["snapshots", inside("hostile", "identity", "pool", "snapshot")],
];

/** @param {string[]} names */
function inside(...names) {
  return names.map((name) => `lab/inside/${name}.test.ts`);
}

/** The reports that a complete run leaves in a directory. */
export const REPORTS = ["here.json", ...LAB_GROUPS.map(([name]) => `lab-${name}.json`)];

/**
 * @typedef {object} Summary
 * @property {number} passed
 * @property {number} failed
 * @property {Skip[]} skipped
 *
 * @typedef {object} Skip
 * @property {string} name file and test
 * @property {string | undefined} facility of the machine that is missing
 * @property {string | undefined} reason
 */

/**
 * Read reports of vitest's `json` reporter. One that is missing or cut short counts as one failure:
 * its runner crashed.
 *
 * @param {readonly string[]} files
 * @returns {Summary}
 */
export function summarize(files) {
  /** @type {Summary} */
  const summary = { passed: 0, failed: 0, skipped: [] };
  for (const file of files) {
    try {
      addReport(summary, JSON.parse(readFileSync(file, "utf8")));
    } catch {
      summary.failed += 1;
    }
  }
  return summary;
}

/**
 * @param {Summary} summary
 * @param {{ testResults: { name: string, status: string, assertionResults: { status: string, fullName: string, meta?: { skipReason?: string } }[] }[] }} report
 */
function addReport(summary, report) {
  if (report.testResults.length === 0) summary.failed += 1; // it did not come to that
  for (const file of report.testResults) {
    const failedBefore = summary.failed;
    for (const { status, fullName, meta } of file.assertionResults) {
      if (status === "passed") summary.passed += 1;
      else if (status === "failed") summary.failed += 1;
      else summary.skipped.push(skip(file.name, fullName, meta?.skipReason));
    }
    // A file that could not be loaded, or whose hooks failed, names no failed test.
    if (file.status === "failed" && summary.failed === failedBefore) summary.failed += 1;
  }
}

/**
 * A missing facility is in the name, put there by `requireFacility` of internal/testing; a test that
 * finds out while it runs gives a reason to `context.skip`, which scripts/json-reporter.mjs keeps.
 *
 * @param {string} file
 * @param {string} name
 * @param {string | undefined} note
 * @returns {Skip}
 */
function skip(file, name, note) {
  const [, facility, reason] = /\[needs (\S+): (.*?)\]/.exec(name) ?? [];
  return { name: `${file}: ${name}`, facility, reason: reason ?? note };
}

/** @param {Summary} summary */
export function summaryLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped.length} skipped`;
}
