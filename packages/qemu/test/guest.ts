import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findKernel } from "@supermachine/guest";
import { describe } from "vitest";
import { findExecutable } from "../src/executable.js";

const kernel = await findKernel();

function missing(): string | undefined {
  if (kernel === undefined) {
    return "guest-kernel: build the one of packages/guest or set SUPERMACHINE_KERNEL";
  }
  const tools = ["qemu-system-x86_64", "musl-gcc", "cpio"];
  const tool = tools.find((name) => findExecutable(name) === undefined);
  return tool && `program:${tool}: ${tool} is not installed`;
}

/** `describe` for what needs a machine; where it cannot be had, the reason is in the name. */
export function describeMachine(name: string, body: () => void): void {
  const reason = missing();
  if (reason === undefined) describe(name, { timeout: 120_000 }, body);
  else describe.skip(`${name} [needs ${reason}]`, body);
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
