import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findKernel } from "@supermachine/guest";
import { requireFacility } from "@supermachine-internal/testing";

const kernel = await findKernel();

const { describe } = requireFacility(
  "program:qemu-system-x86_64",
  "program:musl-gcc",
  "program:cpio",
  {
    name: "guest-kernel",
    missing: kernel ? undefined : "build the one of packages/guest or set SUPERMACHINE_KERNEL",
  },
);

/** `describe` for what needs a machine. */
export function describeMachine(name: string, body: () => void): void {
  describe(name, body, 120_000);
}

/** The guest kernel; there is one where {@link describeMachine} does not skip. */
export function findTestKernel(): string {
  return kernel ?? "";
}

/** Builds the test guest's initial RAM disk in `directory`: one static C program as PID 1. */
export function buildInitrd(directory: string): string {
  const root = join(directory, "root");
  mkdirSync(root);
  const source = fileURLToPath(new URL("guest/init.c", import.meta.url));
  const init = join(root, "init");
  execFileSync("musl-gcc", ["-static", "-Os", "-Wall", "-Werror", "-o", init, source]);
  const initrd = join(directory, "initrd");
  const pack = 'cd "$1" && echo init | cpio -o -H newc --quiet > "$2"';
  execFileSync("sh", ["-c", pack, "sh", root, initrd]);
  return initrd;
}
