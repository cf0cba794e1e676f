import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Writable } from "node:stream";
import { FuseMountError } from "./error.js";

/**
 * What the watching process runs: `read` fails at the end of its input, which this process holds open
 * as long as it lives. Then it unmounts, if the same file system is still there.
 */
const SCRIPT = `read -r _ || {
  device=$1; shift
  grep -q " $device / " /proc/self/mountinfo && exec "$@"
}`;

/** A process that unmounts when this one dies, however it does. */
export class AutoUnmount implements Disposable {
  readonly #input: Writable;

  private constructor(input: Writable) {
    this.#input = input;
  }

  /**
   * @param device - `major:minor` of the mount.
   * @param via - How it was mounted.
   */
  static async start(
    path: string,
    device: string,
    via: "mount" | "fusermount3",
  ): Promise<AutoUnmount> {
    const command =
      via === "mount" ? ["umount", "-l", path] : ["fusermount3", "-u", "-z", "--", path];
    // A session of its own: Ctrl-C at the terminal must not end it first.
    const child: ChildProcess = spawn("/bin/sh", ["-c", SCRIPT, "sh", device, ...command], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
      cwd: "/",
    });
    try {
      await once(child, "spawn");
    } catch (cause) {
      const message = "cannot run /bin/sh, which would unmount when this process dies";
      throw new FuseMountError("ERR_FUSE_MOUNT_HELPER", message, { cause });
    }
    const input = child.stdin;
    if (input === null) throw new TypeError("a piped process has an input");
    // Nobody to tell any more when it is gone.
    input.on("error", () => {});
    child.unref();
    (input as unknown as { unref(): void }).unref();
    return new AutoUnmount(input);
  }

  /** Sends the watching process home. */
  close(): void {
    this.#input.end("\n");
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
