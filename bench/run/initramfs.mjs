// @ts-check
// Initial RAM disks of peers: busybox and an init.
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cachePath, exists } from "../../scripts/cache.mjs";
import { findProgram, run } from "../../scripts/command.mjs";

/**
 * @param {string} name of the file in the cache
 * @param {string} init
 * @returns {Promise<string>} its path
 */
export async function buildPeerInitramfs(name, init) {
  const file = cachePath("bench", name);
  if (await exists(file)) return file;
  const busybox = await findProgram("busybox");
  if (busybox === undefined) throw new Error("busybox is missing: install busybox-static");
  await mkdir(cachePath("bench"), { recursive: true });
  const tree = await mkdtemp(join(tmpdir(), "supermachine-bench-"));
  try {
    for (const directory of ["bin", "dev", "root"]) await mkdir(join(tree, directory));
    await copyFile(busybox, join(tree, "bin", "busybox"));
    await writeFile(join(tree, "init"), init, { mode: 0o755 });
    await run("sh", ["-c", 'find . | cpio --quiet -o -H newc >"$0"', file], { cwd: tree });
  } finally {
    await rm(tree, { recursive: true });
  }
  return file;
}
