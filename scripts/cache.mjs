// @ts-check
// The cache directory shared by everything that is built or downloaded once: a result is a
// directory that appears whole, by rename, or not at all.
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

/**
 * A path below `${XDG_CACHE_HOME:-~/.cache}/supermachine`.
 *
 * @param {...string} parts
 */
export function cachePath(...parts) {
  // An empty XDG_CACHE_HOME means "not set" (XDG Base Directory Specification).
  const base = process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
  return join(base, "supermachine", ...parts);
}

/** @param {string} path */
export function exists(path) {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * Return `directory`, filled by `build` first if it does not exist. Concurrent callers, also in
 * other processes, wait for one build.
 *
 * @param {string} directory
 * @param {(temporary: string) => Promise<void>} build fills the (existing, empty) directory it gets
 * @returns {Promise<string>}
 */
export async function buildOnce(directory, build) {
  if (await exists(directory)) return directory;
  await mkdir(dirname(directory), { recursive: true });
  await withLock(`${directory}.lock`, async () => {
    if (await exists(directory)) return;
    // Beside its destination: rename needs one file system.
    const temporary = await mkdtemp(`${directory}.`);
    try {
      await build(temporary);
      await rename(temporary, directory);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  });
  return directory;
}

/**
 * Hold an exclusive flock(2) on a file while `work` runs. A child holds the lock and ends when its
 * standard input closes, so a killed process leaves no lock behind.
 *
 * @template T
 * @param {string} file
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(file, work) {
  const holder = spawn("flock", ["--exclusive", file, "sh", "-c", "echo locked; exec cat"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => holder.once("close", resolve));
  try {
    await new Promise((resolve, reject) => {
      holder.once("error", (cause) => reject(new Error(`flock: ${cause.message}`, { cause })));
      holder.once("exit", (status) => reject(new Error(`flock ${file} ended with ${status}`)));
      holder.stdout.once("data", resolve);
    });
    return await work();
  } finally {
    holder.stdin.destroy();
    await ended;
  }
}
