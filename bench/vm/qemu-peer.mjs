// @ts-check
// The peer: QEMU's microvm by itself, with our kernel and the demo image's disk. Its init answers each
// line that it reads from the serial port by running a command, which stands in for exec.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { buildPeerInitramfs } from "../run/initramfs.mjs";

const TIMEOUT_MS = 120_000;
const REPEAT_MS = 20;
const ANSWER = "answer";

const INIT = `#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t erofs -o ro /dev/vda /root
/bin/busybox stty -echo </dev/ttyS0
echo up
while read -r line; do /bin/busybox chroot /root /bin/echo ${ANSWER}; done
`;

/**
 * @typedef {object} PeerOptions
 * @property {string} accelerator
 * @property {number} memoryMiB
 * @property {number} [cpus]
 * @property {string} [incoming] a file that {@link QemuPeer.save} wrote
 */

/** One QEMU and the guest in it. */
export class QemuPeer {
  /** @param {PeerOptions} options */
  static async start({ accelerator, memoryMiB, cpus = 1, incoming }) {
    const { findKernel } = await import("@supermachine/guest");
    const { ImageStore } = await import("@supermachine/oci");
    const kernel = await findKernel();
    if (kernel === undefined) throw new Error("the guest kernel is not built: run `npm run setup`");
    const { rootfsPath } = await new ImageStore().get("demo");
    const directory = await mkdtemp(join(tmpdir(), "supermachine-bench-"));
    const qmp = join(directory, "qmp");
    const child = spawn(
      "qemu-system-x86_64",
      [
        ...["-M", "microvm,acpi=off", "-accel", accelerator, "-smp", String(cpus)],
        ...["-cpu", accelerator === "kvm" ? "host" : "max", "-m", String(memoryMiB)],
        ...["-nodefaults", "-no-user-config", "-no-reboot", "-nographic", "-serial", "stdio"],
        ...["-global", "virtio-mmio.force-legacy=false"],
        ...["-drive", `if=none,id=root,format=raw,readonly=on,file=${rootfsPath}`],
        ...["-device", "virtio-blk-device,drive=root"],
        ...["-qmp", `unix:${qmp},server=on,wait=off`],
        ...[
          "-kernel",
          kernel,
          "-initrd",
          await buildPeerInitramfs("answering-initramfs.cpio", INIT),
        ],
        ...["-append", "console=ttyS0 quiet panic=-1 reboot=t"],
        ...(incoming === undefined ? [] : ["-incoming", `exec:cat ${incoming}`]),
      ],
      { stdio: ["pipe", "pipe", "inherit"] },
    );
    return new QemuPeer(child, directory, qmp);
  }

  #child;
  #directory;
  #qmp;
  /** @type {string[]} */
  #lines = [];
  /** @type {(() => void) | undefined} */
  #arrived;

  /**
   * @param {import("node:child_process").ChildProcessByStdio<import("node:stream").Writable, import("node:stream").Readable, null>} child
   * @param {string} directory
   * @param {string} qmp
   */
  constructor(child, directory, qmp) {
    this.#child = child;
    this.#directory = directory;
    this.#qmp = qmp;
    createInterface(child.stdout).on("line", (line) => {
      this.#lines.push(line.trim());
      this.#arrived?.();
    });
    child.stdin.on("error", () => {});
  }

  get pid() {
    return this.#child.pid ?? 0;
  }

  /** Waits for a line of the guest. @param {string} wanted */
  async #line(wanted) {
    const deadline = performance.now() + TIMEOUT_MS;
    for (;;) {
      const at = this.#lines.indexOf(wanted);
      if (at !== -1) return void this.#lines.splice(0, at + 1);
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`QEMU printed no "${wanted}": ${this.#lines.join(" | ")}`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#arrived = () => resolve(clearTimeout(timer));
      });
    }
  }

  /** Waits until the guest has booted. */
  async up() {
    await this.#line("up");
  }

  /** Has the guest run a command. */
  async execute() {
    const ask = () => this.#child.stdin.write("\n");
    ask();
    // A machine that is still being loaded loses what its serial port receives.
    const again = setInterval(ask, REPEAT_MS);
    try {
      await this.#line(ANSWER);
    } finally {
      clearInterval(again);
    }
  }

  /** Writes the whole machine, memory included, to a file. @param {string} file */
  async save(file) {
    const socket = connect(this.#qmp);
    const replies = createInterface(socket)[Symbol.asyncIterator]();
    const ask = async (/** @type {object} */ command) => {
      socket.write(`${JSON.stringify(command)}\n`);
      for (;;) {
        const { value, done } = await replies.next();
        if (done) throw new Error("QEMU closed its monitor");
        const reply = JSON.parse(value);
        if (reply.error) throw new Error(reply.error.desc);
        if ("return" in reply) return reply.return;
      }
    };
    await once(socket, "connect");
    await ask({ execute: "qmp_capabilities" });
    await ask({ execute: "migrate", arguments: { uri: `exec:cat > ${file}` } });
    for (;;) {
      const { status } = await ask({ execute: "query-migrate" });
      if (status === "completed") break;
      if (status === "failed") throw new Error("QEMU cannot save its machine");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    socket.destroy();
  }

  async [Symbol.asyncDispose]() {
    const closed = once(this.#child, "close");
    this.#child.kill("SIGKILL");
    await closed;
    await rm(this.#directory, { recursive: true });
  }
}
