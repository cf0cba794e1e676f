// @ts-check
// The lab's kernel: Debian's stock cloud kernel, downloaded and unpacked (never installed), and
// the initrd that finds the root file system.
import { createHash } from "node:crypto";
import {
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  writeFile,
} from "node:fs/promises";
import { basename, join } from "node:path";
import { buildOnce, cachePath, exists, withLock } from "../scripts/cache.mjs";
import { findProgram, run } from "../scripts/command.mjs";

/** What the initrd needs to reach its root and its standard streams; modprobe loads the rest later. */
const INITRD_MODULES = ["virtio_pci", "virtio_console", "virtiofs", "overlay"];

/**
 * @typedef {object} LabKernel
 * @property {string} kernel path of the bzImage
 * @property {string} initrd path of the initrd
 * @property {string} modules directory to appear as /lib/modules/<release>
 */

/**
 * The newest kernel in the cache, or the one apt names when there is none. Remove the cache
 * directory to get a newer kernel.
 *
 * @returns {Promise<LabKernel>}
 */
export async function ensureLabKernel() {
  const directory = (await newestInCache()) ?? (await download());
  const release = basename(directory);
  return {
    kernel: join(directory, "boot", `vmlinuz-${release}`),
    initrd: await ensureInitrd(directory, release),
    modules: join(directory, "lib", "modules", release),
  };
}

async function newestInCache() {
  const root = cachePath("lab");
  const releases = (await readdir(root).catch(() => [])).filter((name) => name.endsWith("-amd64"));
  releases.sort(new Intl.Collator("en", { numeric: true }).compare);
  const newest = releases.at(-1);
  return newest === undefined ? undefined : join(root, newest);
}

async function download() {
  const meta = "linux-image-cloud-amd64";
  const depends = await run("apt-cache", ["depends", meta]).catch(() => "");
  const name = /Depends: (linux-image-(\S+))/.exec(depends);
  if (name?.[1] === undefined || name[2] === undefined)
    throw new Error(`apt does not know the package ${meta}: run \`apt-get update\` first`);
  const [, packageName, release] = name;
  return buildOnce(cachePath("lab", release), async (temporary) => {
    // Root's apt would hand the download to the user _apt, who cannot write here.
    await run("apt-get", ["-o", "APT::Sandbox::User=root", "download", packageName], {
      cwd: temporary,
    });
    const archive = (await readdir(temporary)).find((file) => file.endsWith(".deb"));
    if (archive === undefined) throw new Error(`apt-get download ${packageName} left no file`);
    await run("dpkg-deb", ["--extract", archive, "."], { cwd: temporary });
    await rm(join(temporary, archive));
    await run((await findProgram("depmod")) ?? "depmod", ["-b", temporary, release]);
  });
}

/**
 * @param {string} directory
 * @param {string} release
 */
async function ensureInitrd(directory, release) {
  const init = await readFile(new URL("init.sh", import.meta.url), "utf8");
  const key = createHash("sha256")
    .update(JSON.stringify([init, INITRD_MODULES]))
    .digest("hex");
  const initrd = join(directory, `initrd-${key.slice(0, 12)}.cpio`);
  if (await exists(initrd)) return initrd;
  await withLock(`${directory}.lock`, async () => {
    const tree = await mkdtemp(join(directory, "initrd."));
    try {
      for (const name of ["bin", "dev", "proc", "sys", "host", "overlay", "root", "modules"])
        await mkdir(join(tree, name));
      const busybox = await findProgram("busybox");
      if (busybox === undefined) throw new Error("busybox is missing: install busybox-static");
      await copyFile(busybox, join(tree, "bin", "busybox"));
      await writeFile(join(tree, "init"), init, { mode: 0o755 });
      await writeFile(
        join(tree, "modules", "order"),
        (await copyModules(directory, release, join(tree, "modules"))).join("\n"),
      );
      // Not compressed: the emulated CPU would take longer to unpack it than to read it.
      await run("sh", ["-c", "find . | cpio --quiet -o -H newc >../initrd.new"], { cwd: tree });
      await rename(join(directory, "initrd.new"), initrd);
    } finally {
      await rm(tree, { recursive: true, force: true });
    }
  });
  return initrd;
}

/**
 * Copy the initrd's modules and what they depend on; returns their names in load order.
 *
 * @param {string} directory
 * @param {string} release
 * @param {string} destination
 */
async function copyModules(directory, release, destination) {
  const modprobe = (await findProgram("modprobe")) ?? "modprobe";
  /** @type {string[]} */
  const order = [];
  for (const module of INITRD_MODULES) {
    const listing = await run(modprobe, ["-d", directory, "-S", release, "--show-depends", module]);
    for (const [, path] of listing.matchAll(/^insmod (\S+)/gm)) {
      if (path === undefined) continue;
      const name = basename(path).replace(/\.xz$/, "");
      if (order.includes(name)) continue;
      await copyFile(path, join(destination, basename(path)));
      // Newer Debian releases compress modules; busybox cannot load them so.
      if (path.endsWith(".xz")) await run("xz", ["-d", join(destination, basename(path))]);
      order.push(name);
    }
  }
  return order;
}
