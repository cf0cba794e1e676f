import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** The kernel of `SUPERMACHINE_KERNEL`, or the newest that the guest package has built. */
export function testKernel(): string | undefined {
  const fromEnvironment = process.env["SUPERMACHINE_KERNEL"];
  if (fromEnvironment !== undefined) return fromEnvironment;
  const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  const kernels = join(cache, "supermachine", "kernel");
  if (!existsSync(kernels)) return undefined;
  return readdirSync(kernels)
    .map((build) => join(kernels, build, "bzImage"))
    .find((path) => existsSync(path));
}

/** Builds the test guest's initial RAM disk in `directory`: one static C program as PID 1. */
export function buildInitrd(directory: string): string {
  const root = join(directory, "root");
  mkdirSync(root);
  const source = new URL("guest/init.c", import.meta.url).pathname;
  execFileSync("musl-gcc", [
    "-static",
    "-Os",
    "-Wall",
    "-Werror",
    "-o",
    join(root, "init"),
    source,
  ]);
  const initrd = join(directory, "initrd");
  execFileSync("sh", [
    "-c",
    'cd "$1" && echo init | cpio -o -H newc --quiet > "$2"',
    "sh",
    root,
    initrd,
  ]);
  return initrd;
}
