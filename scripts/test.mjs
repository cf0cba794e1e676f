// @ts-check
// npm test [-- PATTERN]: set up, check, run every package's tests here, then the hypervisor's in the
// lab. With PATTERN only the tests here whose file's path contains it. No phase hides another's
// failure. Until setup has run, only Node's own modules exist.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CommandError, run } from "./command.mjs";
import { ensureDebianImage } from "./setup/debian-image.mjs";
import { reportFailure, setup } from "./setup.mjs";
import { seconds } from "./step.mjs";
import { LAB_GROUPS, REPORTS, summarize, summaryLine } from "./test-report.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CLI = fileURLToPath(new URL("../packages/supermachine/dist/cli.js", import.meta.url));
const IN_CI = process.env.CI === "true";
/** Not when the output goes to a file: biome would colour it nevertheless. */
const BIOME_COLORS = process.stdout.isTTY ? [] : ["--colors=off"];
/** What a machine may lack even after setup; a skip for anything else is a failure in CI. */
const MAY_BE_MISSING = new Set(["linux", "x86-64", "root", "kvm", "fuse", "erofs", "lab"]);
const LAB_TIMEOUT_SECONDS = 600;
/** Status of lab/lab.mjs when the emulated machine froze, which is no failure of the tests in it. */
const LAB_FROZEN = 123;
const LAB_ATTEMPTS = 4;
/** With patience: the CPU is emulated. */
const LAB_VITEST = [
  ...["run", "--config", "lab/vitest.config.ts", "--no-file-parallelism"],
  ...["--testTimeout=300000", "--hookTimeout=300000"],
];

/** @type {{ name: string, failed: boolean, time: number }[]} */
const phases = [];

/**
 * @param {string} name
 * @param {() => Promise<unknown>} work
 */
async function phase(name, work) {
  process.stdout.write(`\n== ${name}\n`);
  const started = performance.now();
  const failed = await work().then(
    () => false,
    (error) => {
      reportFailure(name, error);
      return true;
    },
  );
  phases.push({ name, failed, time: performance.now() - started });
}

/** @param {string} command @param {string[]} args */
const show = (command, args) => run(command, args, { cwd: ROOT, inherit: true });
/** @param {string[]} args */
const node = (...args) => show(process.execPath, args);
/** @param {string} name */
const bin = (name) => join("node_modules", ".bin", name);

/**
 * Runs tests in the lab, again when the lab freezes.
 *
 * @param {string} reports directory
 * @param {string} report file
 * @param {readonly string[]} files
 */
async function inLab(reports, report, files) {
  const lab = ["lab/lab.mjs", "--out", reports, "--timeout", String(LAB_TIMEOUT_SECONDS)];
  const tests = [bin("vitest"), ...LAB_VITEST, ...files, ...jsonReport(report)];
  for (let attempt = 1; ; attempt++) {
    try {
      return await node(...lab, ...tests);
    } catch (error) {
      const isFrozen = error instanceof CommandError && error.status === LAB_FROZEN;
      if (!isFrozen || attempt === LAB_ATTEMPTS) throw error;
      await rm(report, { force: true });
      process.stdout.write(`the lab froze: attempt ${attempt + 1} of ${LAB_ATTEMPTS}\n`);
    }
  }
}

/** @param {string} file */
const jsonReport = (file) => [
  ...["--reporter=default", "--reporter=./scripts/json-reporter.mjs"],
  `--outputFile.json=${file}`,
];

/** @param {readonly string[]} files */
async function checkSkips(files) {
  const unexplained = summarize(files).skipped.filter(
    ({ facility, reason }) =>
      reason === undefined || (facility !== undefined && !MAY_BE_MISSING.has(facility)),
  );
  for (const { name, reason } of unexplained)
    process.stderr.write(`skipped: ${name}: ${reason ?? "no reason given"}\n`);
  if (unexplained.length > 0)
    throw new Error(`${unexplained.length} tests were skipped without need, see above`);
}

/** @param {readonly import("./test-report.mjs").Skip[]} skips */
function printSkips(skips) {
  /** @type {Map<string, number>} */
  const reasons = new Map();
  for (const { facility, reason = "no reason given" } of skips) {
    const text = facility === undefined ? reason : `needs ${facility}: ${reason}`;
    reasons.set(text, (reasons.get(text) ?? 0) + 1);
  }
  for (const [reason, count] of reasons) process.stdout.write(`${count} skipped: ${reason}\n`);
}

/** @param {string} reports directory */
async function everything(reports) {
  const here = join(reports, "here.json");
  await phase("set up", () => setup("test"));
  await phase("check formatting and lint", () =>
    show(bin("biome"), ["ci", "--error-on-warnings", ...BIOME_COLORS, "."]),
  );
  await phase("check the lock file", () => node("scripts/check-lockfile.mjs"));
  await phase("check imports", () => node("scripts/check-imports.mjs"));
  await phase("check types", async () => {
    await node("--env-file=turbo.env", "node_modules/turbo/bin/turbo", "run", "typecheck");
    await show(bin("tsc"), ["-p", "scripts"]);
  });
  await phase("tests", () => show(bin("vitest"), ["run", ...jsonReport(here)]));
  await phase("Debian for the lab", async () => {
    const store = join(reports, "store");
    const layout = `${join(await ensureDebianImage(), "layout")}:debian`;
    await run(process.execPath, [CLI, "image", "import", layout, "--name", "debian"], {
      cwd: ROOT,
      env: { ...process.env, SUPERMACHINE_HOME: store },
    });
    process.env.SUPERMACHINE_LAB_STORE = store;
  });
  for (const [name, files] of LAB_GROUPS) {
    const report = join(reports, `lab-${name}.json`);
    await phase(`tests in the lab: ${name}`, () => inLab(reports, report, files));
  }
  const written = REPORTS.map((name) => join(reports, name));
  if (IN_CI) await phase("check skips", () => checkSkips(written));
  return written;
}

const patterns = process.argv.slice(2);
const kept = process.env.SUPERMACHINE_TEST_REPORTS;
const reports = kept ?? (await mkdtemp(join(tmpdir(), "supermachine-test-")));
try {
  await mkdir(reports, { recursive: true });
  if (patterns.length > 0) {
    await phase("set up", () => setup("test"));
    await phase("tests", () => show(bin("vitest"), ["run", ...patterns]));
  } else {
    const summary = summarize(await everything(reports));
    process.stdout.write("\n");
    printSkips(summary.skipped);
    process.stdout.write(`${summaryLine(summary)}\n`);
  }
} finally {
  if (kept === undefined) await rm(reports, { recursive: true, force: true });
}
for (const { name, failed, time } of phases)
  process.stdout.write(`${failed ? "FAILED" : "ok    "} ${name} (${seconds(time)})\n`);
process.exitCode = phases.some(({ failed }) => failed) ? 1 : 0;
