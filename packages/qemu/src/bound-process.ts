import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { QemuError } from "./error.js";
import { findExecutable } from "./executable.js";

/** A child process whose standard output and error are read by this one. */
export type BoundProcess = ChildProcessByStdio<null, Readable, Readable>;

/**
 * Starts a process that the kernel kills when this thread ends (prctl PR_SET_PDEATHSIG), where
 * `setpriv` of util-linux can be had. Throws {@link QemuError} `ERR_QEMU_START`.
 */
export async function spawnBound(path: string, args: readonly string[]): Promise<BoundProcess> {
  const setpriv = process.platform === "linux" ? findExecutable("setpriv") : undefined;
  const [command, commandArgs] =
    setpriv === undefined
      ? [path, args]
      : [setpriv, ["--pdeathsig", "KILL", "--no-new-privs", "--", path, ...args]];
  const child = spawn(command, commandArgs, { stdio: ["ignore", "pipe", "pipe"] });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) => {
      reject(
        new QemuError("ERR_QEMU_START", `cannot start ${command}: ${cause.message}`, { cause }),
      );
    });
  });
  return child;
}
