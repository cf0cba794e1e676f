// @ts-check
// The lock file must install on every platform from any registry: no registry's address in it, an
// integrity for every package, and every optional (per-platform) package of what is locked. npm
// leaves out those the registry did not have at the time, and `npm ci` fails elsewhere.
import { readFileSync } from "node:fs";

const { packages } = JSON.parse(
  readFileSync(new URL("../package-lock.json", import.meta.url), "utf8"),
);
/** @type {string[]} */
const problems = [];
for (const [path, entry] of Object.entries(packages)) {
  if (/^https?:/.test(entry.resolved ?? "")) problems.push(`${path} names a registry`);
  if (path.includes("node_modules/") && !entry.link && !entry.integrity)
    problems.push(`${path} has no integrity`);
  for (const name of Object.keys(entry.optionalDependencies ?? {}))
    if (!isLocked(path, name)) problems.push(`${path || "the root"} needs ${name}, not locked`);
}
for (const problem of problems) process.stderr.write(`package-lock.json: ${problem}\n`);
if (problems.length > 0) process.exitCode = 1;

/**
 * Whether `name` resolves from the package at `path`, as Node looks it up: own node_modules first,
 * then each parent's.
 *
 * @param {string} path
 * @param {string} name
 */
function isLocked(path, name) {
  for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf("node_modules/") - 1))) {
    if (packages[at === "" ? `node_modules/${name}` : `${at}/node_modules/${name}`]) return true;
    if (at === "") return false;
    if (!at.includes("node_modules/")) at = "";
  }
}
