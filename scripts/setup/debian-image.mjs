// @ts-check
// A real distribution for the tests: a minimal Debian, made into an image by the reference tools.
import { mkdir, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { buildOnce, cachePath } from "../cache.mjs";
import { findProgram, run } from "../command.mjs";

const RECIPE = 1; // goes up when the image is to change

/**
 * Make `images/debian-<release>-<recipe>/` in the cache: `layout` (OCI image layout, tag `debian`)
 * and `docker-archive.tar`, the same image as `docker save` writes it.
 *
 * @returns {Promise<string>} the directory
 */
export async function ensureDebianImage() {
  const cached = (await readdir(cachePath("images")).catch(() => [])).find(
    (name) => name.startsWith("debian-") && name.endsWith(`-${RECIPE}`),
  );
  if (cached !== undefined) return cachePath("images", cached);

  if (process.geteuid?.() !== 0) throw new Error("debootstrap needs root");
  const { mirror, codename } = await debianMirror();
  return buildOnce(cachePath("images", `debian-${codename}-${RECIPE}`), async (directory) => {
    const work = join(directory, "work");
    const rootfs = join(work, "rootfs");
    const layout = join(directory, "layout");
    const image = `${layout}:debian`;
    const debootstrap = (await findProgram("debootstrap")) ?? "debootstrap";
    await mkdir(work);
    await run(debootstrap, ["--variant=minbase", codename, rootfs, mirror]);
    // The downloaded archives are a third of the tree and no part of a running system.
    await run("chroot", [rootfs, "apt-get", "clean"]);
    await run("umoci", ["init", "--layout", layout]);
    await run("umoci", ["new", "--image", image]);
    await run("umoci", ["insert", "--image", image, rootfs, "/"]);
    await run("umoci", ["config", "--image", image, "--config.cmd", "/bin/bash"]);
    await run("umoci", ["gc", "--layout", layout]);
    const archive = join(work, "archive.tar");
    await run("skopeo", ["copy", `oci:${image}`, `docker-archive:${archive}:debian:${codename}`]);
    await rename(archive, join(directory, "docker-archive.tar"));
    await run("rm", ["-rf", "--one-file-system", work]);
  });
}

/** The archive this machine's apt uses, so that no mirror is named here. */
async function debianMirror() {
  const lines = await run("apt-get", [
    "indextargets",
    "--format=$(LABEL)|$(CODENAME)|$(REPO_URI)",
    "Created-By: Packages",
    "Component: main",
  ]);
  for (const line of lines.split("\n")) {
    const [label, codename, mirror] = line.split("|");
    // The release itself, not `-updates` or `-security`.
    if (label === "Debian" && codename && mirror && !codename.includes("-"))
      return { codename, mirror };
  }
  throw new Error("apt knows no Debian release on this machine: run `apt-get update` first");
}
