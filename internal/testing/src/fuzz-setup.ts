// A set-up file of every vitest run (vitest.base.ts); it does something under `npm run fuzz` only.
import { appendFileSync } from "node:fs";
import { expect } from "vitest";
import { fuzzMs, runs } from "./fuzz.js";

const timeLimitMs = fuzzMs();
if (timeLimitMs !== undefined) {
  const { default: fc } = await import("fast-check");
  fc.configureGlobal({
    numRuns: runs(100),
    interruptAfterTimeLimit: timeLimitMs,
    // The first failure is the news; shrinking it may take longer than the search did.
    endOnFailure: true,
    reporter: (details) => {
      const { testPath, currentTestName } = expect.getState();
      const line = { file: testPath, name: currentTestName, inputs: details.numRuns };
      const report = process.env["SUPERMACHINE_FUZZ_REPORT"];
      if (report) appendFileSync(report, `${JSON.stringify(line)}\n`);
      if (details.failed)
        throw new Error(fc.defaultReportMessage(details), { cause: details.errorInstance });
    },
  });
}
