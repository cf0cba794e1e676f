// @ts-check
// The demo's image: Debian's static busybox with a link for each of its programs.
import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { buildOnce, cachePath } from "../cache.mjs";
import { findProgram, run } from "../command.mjs";
import { writeOciLayout } from "./oci-layout.mjs";

const RECIPE = 1; // goes up when the image is to change

/**
 * Build the image's OCI layout in the cache.
 *
 * @returns {Promise<string>} the layout's directory
 */
export async function ensureDemoLayout() {
  const busybox = await findProgram("busybox");
  if (busybox === undefined) throw new Error("busybox is missing: install busybox-static");
  const key = createHash("sha256")
    .update(`${RECIPE}`)
    .update(await readFile(busybox));
  const directory = cachePath("images", `demo-${key.digest("hex").slice(0, 12)}`);
  return buildOnce(directory, async (layout) => {
    const rootfs = join(layout, "rootfs");
    await fillRootfs(rootfs, busybox);
    await writeOciLayout({
      rootfs,
      layout,
      tag: "demo",
      config: { Cmd: ["sh"], Env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"] },
    });
    await rm(rootfs, { recursive: true });
  });
}

/**
 * Put the image into the store, under the name `demo`, unless that very image is there.
 *
 * @param {string} cli path of the built command
 * @param {string} layout
 */
export async function importDemoImage(cli, layout) {
  const index = JSON.parse(await readFile(join(layout, "index.json"), "utf8"));
  const digest = String(index.manifests[0].digest);
  const listing = await run(process.execPath, [cli, "image", "ls"]);
  // The listing shortens digests.
  const row = listing.split("\n").find((line) => /^demo\s/.test(line));
  const shown = /sha256:[0-9a-f]+/.exec(row ?? "")?.[0];
  if (shown !== undefined && digest.startsWith(shown)) return "present";
  await run(process.execPath, [cli, "image", "import", layout, "--name", "demo"]);
  return "imported as demo";
}

/**
 * @param {string} rootfs
 * @param {string} busybox
 */
async function fillRootfs(rootfs, busybox) {
  for (const [directory, mode] of /** @type {const} */ ([
    ...[
      ["bin", 0o755],
      ["sbin", 0o755],
      ["usr/bin", 0o755],
      ["usr/sbin", 0o755],
      ["etc", 0o755],
    ],
    ...[
      ["dev", 0o755],
      ["proc", 0o555],
      ["sys", 0o555],
      ["run", 0o755],
      ["root", 0o700],
    ],
    ...[
      ["home/demo", 0o755],
      ["tmp", 0o1777],
      ["var/tmp", 0o1777],
    ],
  ])) {
    await mkdir(join(rootfs, String(directory)), { recursive: true });
    await run("chmod", [Number(mode).toString(8), join(rootfs, String(directory))]);
  }
  await copyFile(busybox, join(rootfs, "bin", "busybox"));
  const applets = (await run(busybox, ["--list-full"])).split("\n").filter((path) => path !== "");
  for (const path of applets) {
    if (basename(path) === "busybox") continue;
    await mkdir(dirname(join(rootfs, path)), { recursive: true });
    await symlink("/bin/busybox", join(rootfs, path));
  }
  const [version = "BusyBox"] = (await run(busybox, ["--help"])).split(" (");
  await writeFile(
    join(rootfs, "etc", "os-release"),
    `NAME="supermachine demo"\nID=supermachine-demo\nPRETTY_NAME="supermachine demo (${version})"\n`,
  );
  await writeFile(
    join(rootfs, "etc", "passwd"),
    "root:x:0:0:root:/root:/bin/sh\ndemo:x:1000:1000:demo:/tmp:/bin/sh\n",
  );
  await writeFile(join(rootfs, "etc", "group"), "root:x:0:\ndemo:x:1000:\n");
}
