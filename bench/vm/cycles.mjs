// @ts-check
// A thousand machines come and go: how many do, and what is left of them. Not part of `npm run bench -- vm`:
// npm run bench -- vm cycles --samples 1000 --cpus 1,2,4
import { readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Image } from "supermachine";
import { machineOptions, withResource } from "./machine.mjs";

const TAG = "bench-cycles";
/** Cycles after which a program has compiled and cached what it will. */
const WARM_UP = 5;
const SETTLE_MS = 2_000;
const REPORT_EVERY = 25;
const ATTEMPT_LIMIT = 20;
/** As the library finds it. */
const RUNTIME_DIRECTORY = process.env.XDG_RUNTIME_DIR
  ? join(process.env.XDG_RUNTIME_DIR, "supermachine")
  : join(tmpdir(), `supermachine-${userInfo().uid}`);

/** @type {import("../vm.mjs").MeasureSection} */
export async function measure({ note, samples: count, cpus: all }) {
  const image = await Image.open("demo");
  const rows = [];
  for (const cpus of all) {
    for (const isolation of /** @type {const} */ (["inline", "process"])) {
      const options = { ...machineOptions(isolation), cpus };
      const { directory } = await image.bake({ ...options, tag: TAG });
      const name = `${cpus} vCPUs, ${isolation}`;
      try {
        const report = (/** @type {string} */ text) => note(`cycles: ${name}: ${text}`);
        const run = await runCycles(() => image.pool({ ...options, warm: TAG }), count, report);
        rows.push(
          row(`${name}: good of ${count}`, "cycles", run.good),
          ...Object.entries(run.left).map(([what, much]) => row(`${name}: left over`, what, much)),
        );
      } finally {
        await rm(directory, { recursive: true });
      }
    }
  }
  return rows;
}

/**
 * @param {string} name
 * @param {string} unit
 * @param {number} value
 */
const row = (name, unit, value) => ({ name, unit, ours: [value], peer: [], peerName: "" });

/**
 * @param {() => import("supermachine").Pool} open
 * @param {number} count
 * @param {(text: string) => void} report
 */
async function runCycles(open, count, report) {
  await cycle(open, WARM_UP, () => {});
  const before = await holdings();
  const good = await cycle(open, count, report);
  const after = await holdings();
  const left = Object.fromEntries(
    Object.entries(after).map(([what, much]) => [what, much - (before[what] ?? 0)]),
  );
  report(`${good} of ${count} good; left over: ${JSON.stringify(left)}`);
  return { good, left };
}

/**
 * @param {() => import("supermachine").Pool} open
 * @param {number} count
 * @param {(text: string) => void} report
 */
function cycle(open, count, report) {
  return withResource(open(), (pool) => cycleIn(pool, count, report));
}

/**
 * @param {import("supermachine").Pool} pool
 * @param {number} count
 * @param {(text: string) => void} report
 */
async function cycleIn(pool, count, report) {
  let good = 0;
  let failures = 0;
  for (let n = 1; n <= count && failures < ATTEMPT_LIMIT; n++) {
    try {
      const text = String(n);
      const stdout = await pool.use(async (vm) => (await vm.exec(["echo", text])).stdout);
      if (stdout !== `${text}\n`) throw new Error(`cycle ${n} printed ${JSON.stringify(stdout)}`);
      good++;
    } catch (error) {
      failures++;
      report(`cycle ${n} failed: ${error instanceof Error ? error.message : error}`);
    }
    if (n % REPORT_EVERY === 0) report(`${good} of ${n}`);
  }
  return good;
}

/** What this process and its machines hold, by kind. @returns {Promise<Record<string, number>>} */
async function holdings() {
  await delay(SETTLE_MS);
  const entries = (/** @type {string} */ path) => {
    try {
      return readdirSync(path).length;
    } catch {
      return 0; // There is none as long as nobody needed it.
    }
  };
  return {
    fds: readdirSync("/proc/self/fd").length,
    threads: readdirSync("/proc/self/task").length,
    processes: readdirSync("/proc").filter(isOurs).length,
    "files in /dev/shm": entries("/dev/shm"),
    [`files in ${tmpdir()}`]: entries(tmpdir()),
    "runtime directories": entries(RUNTIME_DIRECTORY),
    "MiB resident": process.memoryUsage.rss() / 2 ** 20,
  };
}

/** Whether a name in /proc is that of a program, and not of a thread of the kernel. @param {string} name */
function isOurs(name) {
  if (!/^\d+$/.test(name)) return false;
  try {
    return readFileSync(`/proc/${name}/cmdline`, "latin1") !== "";
  } catch {
    return false; // It has ended meanwhile.
  }
}
