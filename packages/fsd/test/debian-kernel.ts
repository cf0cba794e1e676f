import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { OwnFacility } from "@supermachine-internal/testing";
import { cachePath } from "../../../scripts/cache.mjs";

const releases = existsSync(cachePath("lab"))
  ? readdirSync(cachePath("lab")).filter((name) => name.endsWith("-amd64"))
  : [];
const release = releases.sort(new Intl.Collator("en", { numeric: true }).compare).at(-1) ?? "";
const directory = cachePath("lab", release);

/** Debian's kernel as `npm run lab` unpacks it. */
export const debianKernel: OwnFacility = {
  name: "debian-kernel",
  missing: release === "" ? "npm run lab has not unpacked one yet" : undefined,
};

export const debianKernelPath = join(directory, "boot", `vmlinuz-${release}`);

/** The modules that a virtio-fs on PCI takes, with what they depend on, in the order to load them. */
export function virtioFsModules(): string[] {
  const paths = ["virtio_pci", "virtiofs"].flatMap((name) => {
    const args = ["-d", directory, "-S", release, "--show-depends", name];
    const listing = execFileSync("modprobe", args, { encoding: "utf8" });
    return [...listing.matchAll(/^insmod (\S+)/gm)].map(([, path = ""]) => path);
  });
  return [...new Set(paths)];
}
