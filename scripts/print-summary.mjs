// @ts-check
// The closing line of .ci/run; scripts/test.mjs has left its reports in the directory.
import { join } from "node:path";
import { REPORTS, summarize, summaryLine } from "./test-report.mjs";

const [, , directory = "."] = process.argv;
const summary = summarize(REPORTS.map((name) => join(directory, name)));
process.stdout.write(`${summaryLine(summary)}\n`);
