// @ts-check
// npm's packages: installed exactly as locked, and only when something differs.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../command.mjs";

/** @param {string} root the repository */
export async function ensureNodeModules(root) {
  if (await installedAsLocked(root)) return "as locked";
  await run("npm", ["ci"], { cwd: root });
  return "installed";
}

/**
 * npm leaves in node_modules the part of the lock file it installed; optional packages for other
 * platforms are missing there.
 *
 * @param {string} root
 */
async function installedAsLocked(root) {
  const locked = await readPackages(join(root, "package-lock.json"));
  const installed = await readPackages(join(root, "node_modules", ".package-lock.json")).catch(
    () => undefined,
  );
  if (installed === undefined) return false;
  const same = (/** @type {Entry} */ a, /** @type {Entry} */ b) =>
    a.version === b.version && a.integrity === b.integrity && a.link === b.link;
  for (const [path, entry] of Object.entries(locked)) {
    if (path === "") continue;
    const found = installed[path];
    if (found === undefined ? !(entry.optional || entry.devOptional) : !same(entry, found))
      return false;
  }
  return Object.keys(installed).every((path) => locked[path] !== undefined);
}

/**
 * @typedef {{ version?: string, integrity?: string, link?: boolean, optional?: boolean, devOptional?: boolean }} Entry
 * @param {string} file
 * @returns {Promise<Record<string, Entry>>}
 */
async function readPackages(file) {
  return JSON.parse(await readFile(file, "utf8")).packages;
}
