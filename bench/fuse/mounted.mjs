// @ts-check
// A server, mounted. This process never touches the files of the mount itself.
import { spawn } from "node:child_process";
import { mkdir, readFile, rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../../scripts/command.mjs";

const MOUNT_TIMEOUT_MS = 15_000;

export class Mounted {
  /**
   * @param {string} path of the mount point
   * @param {import("node:child_process").ChildProcess} child
   * @param {Promise<void>} ended
   */
  constructor(path, child, ended) {
    this.path = path;
    this.child = child;
    this.ended = ended;
  }

  /**
   * @param {import("./servers.mjs").Server} server
   * @param {string} directory what it serves
   * @param {string} path where: is made
   */
  static async start({ name, command }, directory, path) {
    await mkdir(path, { recursive: true });
    const [program = "", ...words] = command.map((word) =>
      word.replace("{dir}", directory).replace("{mnt}", path),
    );
    const child = spawn(program, words, { stdio: ["ignore", "ignore", "pipe"] });
    let messages = "";
    child.stderr?.on("data", (chunk) => {
      messages = (messages + chunk).slice(-4000);
    });
    let running = true;
    const ended = new Promise((/** @type {(value: void) => void} */ resolve) => {
      const end = () => {
        running = false;
        resolve();
      };
      child.once("close", end);
      child.once("error", (error) => {
        messages += error.message;
        end();
      });
    });
    const deadline = performance.now() + MOUNT_TIMEOUT_MS;
    while (!(await isMounted(path))) {
      if (!running || performance.now() > deadline) {
        child.kill("SIGKILL");
        throw new Error(`${name} did not mount: ${[program, ...words].join(" ")}\n${messages}`);
      }
      await sleep(20);
    }
    return new Mounted(path, child, ended);
  }

  /** Makes the kernel forget what it knows of this mount, as far as nothing is in use. */
  async forget() {
    await run("mount", ["--internal-only", "-o", "remount", this.path]);
    await sleep(100); // for the server to take the FORGETs
  }

  /** Resident memory of the server in MiB. */
  async residentMiB() {
    const status = await readFile(`/proc/${this.child.pid}/status`, "utf8");
    return Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1]) / 1024;
  }

  async stop() {
    await run("umount", ["--internal-only", this.path]).catch(() =>
      run("umount", ["--lazy", this.path]),
    );
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 5000);
    await this.ended;
    clearTimeout(timer);
    await rm(this.path, { recursive: true });
  }
}

/** @param {string} path */
async function isMounted(path) {
  const mounts = await readFile("/proc/self/mountinfo", "utf8");
  return mounts.split("\n").some((line) => line.split(" ")[4] === path);
}
