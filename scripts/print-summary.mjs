// @ts-check
// The closing line of .ci/run; scripts/test.mjs has left its reports in the directory.
import { join } from "node:path";
import { summarize, summaryLine } from "./test-report.mjs";

const [, , directory = "."] = process.argv;
const summary = summarize([join(directory, "here.json"), join(directory, "lab.json")]);
process.stdout.write(`${summaryLine(summary)}\n`);
