// @ts-check
// One run of a command that prints `ready` from inside its virtual machine.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

const MIB = 2 ** 20;
const TIMEOUT_MS = 180_000;

/**
 * @typedef {{ command: string, args: readonly string[] }} Command
 * @typedef {{ outputAfter: number, overheadMiB: number }} Run milliseconds; MiB
 */

/**
 * @param {Command} command
 * @param {number} memoryMiB of the guest
 * @returns {Promise<Run>}
 */
export async function measureRun({ command, args }, memoryMiB) {
  const started = performance.now();
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const ended = new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
  /** @type {Run | undefined} */
  let run;
  const look = (/** @type {Buffer} */ chunk) => {
    output += chunk;
    if (run !== undefined || !/^ready\b/m.test(output)) return;
    const outputAfter = performance.now() - started;
    run = { outputAfter, overheadMiB: residentBeside(child.pid ?? 0, memoryMiB) };
  };
  child.stdout.on("data", look);
  child.stderr.on("data", look);
  await ended;
  clearTimeout(timer);
  if (run === undefined) throw new Error(`${command} printed no "ready":\n${output.slice(-2000)}`);
  return run;
}

/**
 * Resident memory of a process and all below it, without the mapping that is the guest's memory.
 *
 * @param {number} root
 * @param {number} memoryMiB
 */
export function residentBeside(root, memoryMiB) {
  const parents = new Map(
    readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(parentOf),
  );
  let total = 0;
  for (const pid of parents.keys()) {
    let at = pid;
    while (at !== root && at !== undefined && at > 1) at = parents.get(at) ?? 0;
    if (at === root) total += residentOf(pid, memoryMiB);
  }
  return total;
}

/**
 * @param {string} name
 * @returns {[number, number]} pid, parent
 */
function parentOf(name) {
  try {
    const stat = readFileSync(`/proc/${name}/stat`, "utf8");
    return [Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])];
  } catch {
    return [Number(name), 0]; // ended meanwhile
  }
}

/** @param {number} pid @param {number} memoryMiB */
function residentOf(pid, memoryMiB) {
  let resident = 0;
  let mappingKiB = 0;
  let smaps = "";
  try {
    smaps = readFileSync(`/proc/${pid}/smaps`, "utf8");
  } catch {
    return 0;
  }
  for (const [, field, value] of smaps.matchAll(/^(Size|Rss):\s+(\d+) kB$/gm)) {
    if (field === "Size") mappingKiB = Number(value);
    else if (mappingKiB !== memoryMiB * 1024) resident += Number(value);
  }
  return (resident * 1024) / MIB;
}
