// @ts-check
// What we need from Debian, and its installation where we may.
import { spawnSync } from "node:child_process";
import { findProgram, run } from "../command.mjs";

const KERNEL_BUILD = ["build-essential", "flex", "bison", "bc", "libelf-dev", "lz4", "xz-utils"];

/** Packages by what they are for; each profile needs those before it, too. */
const PACKAGES = {
  demo: [
    ...["qemu-system-x86", "qemu-system-common", "busybox-static", "musl-tools", "linux-libc-dev"],
    ...["linux-source-6.1", ...KERNEL_BUILD],
  ],
  test: [
    ...["cpio", "kmod"], // the lab's initrd
    ...["umoci", "skopeo", "debootstrap", "erofs-utils", "e2fsprogs", "zstd"], // reference tools for images
    ...["fuse3", "libfuse3-dev", "attr", "acl", "libcap2-bin", "strace", "fio", "git"], // file systems and baselines
    "clang", // fuzzing the guest agent
  ],
};

/** @param {"demo" | "test"} profile */
export async function ensureDebianPackages(profile) {
  const wanted = profile === "demo" ? PACKAGES.demo : [...PACKAGES.demo, ...PACKAGES.test];
  if ((await findProgram("apt-get")) === undefined)
    throw new Error(
      `this is no Debian system: install what these packages hold: ${wanted.join(" ")}`,
    );
  const missing = missingOf(wanted);
  if (missing.length === 0) return `${wanted.length} present`;

  const command = ["apt-get", "install", "--yes", "--no-install-recommends", ...missing];
  if (process.geteuid?.() !== 0)
    throw new Error(`packages are missing: run \`sudo ${command.join(" ")}\``);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const install = () => run("apt-get", command.slice(1), { env });
  // The package lists may be absent, or name versions that the mirror has dropped.
  await install().catch(async () => {
    await updatePackageLists();
    await install();
  });
  return `installed ${missing.join(" ")}`;
}

export async function updatePackageLists() {
  await run("apt-get", ["update"]);
}

/** @param {readonly string[]} packages */
function missingOf(packages) {
  // Its status is 1 as soon as one package is unknown; it lists the others all the same.
  const { stdout } = spawnSync(
    "dpkg-query",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
    ["--show", "--showformat=${db:Status-Abbrev} ${Package}\\n", ...packages],
    { encoding: "utf8" },
  );
  const installed = new Set(
    stdout.split("\n").flatMap((line) => (line.startsWith("ii ") ? [line.slice(3).trim()] : [])),
  );
  return packages.filter((name) => !installed.has(name));
}
