import { type ChildProcess, spawn } from "node:child_process";
import { Duplex, Readable } from "node:stream";
import { QemuError } from "./error.js";
import { findExecutable } from "./executable.js";

/** In the process, one end of a socket pair; this process has the other as {@link BoundProcess.channel}. */
export const CHANNEL_FD = 3;

/** A child process whose standard output and error are read by this one, with a channel to it. */
export interface BoundProcess {
  readonly child: ChildProcess;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly channel: Duplex;
}

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
  const child = spawn(command, commandArgs, { stdio: ["ignore", "pipe", "pipe", "pipe"] });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) => {
      reject(
        new QemuError("ERR_QEMU_START", `cannot start ${command}: ${cause.message}`, { cause }),
      );
    });
  });
  const [, stdout, stderr, channel] = child.stdio;
  // Node.js makes a pipe of this kind both ways.
  if (stdout instanceof Readable && stderr instanceof Readable && channel instanceof Duplex) {
    return { child, stdout, stderr, channel };
  }
  child.kill("SIGKILL");
  throw new QemuError("ERR_QEMU_START", `cannot start ${command}: there are no pipes to it`);
}
