// @ts-check
// A directory in a guest, served over vhost-user by ours and by QEMU's own virtiofsd: each boots the same guest in
// turns, under translation, with the same work to do. So the guest's part of each operation is the same, and large.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { findKernel } from "@supermachine/guest";
import { run } from "../../scripts/command.mjs";

const GROUPS = ["lookups", "listing", "long-listing", "changes"];
const FSD = fileURLToPath(new URL("../../packages/fsd/dist/bin.js", import.meta.url));
const VIRTIOFSD = "/usr/lib/qemu/virtiofsd";
const MEMORY_MIB = 384;

/**
 * A program that serves a directory to one front-end, in the foreground.
 *
 * @typedef {object} VhostUserServer
 * @property {string} name
 * @property {readonly string[]} command with `{dir}` and `{socket}` in the place of the two paths
 */

/**
 * Ours and those of this machine that it is compared with.
 *
 * @param {"auto" | "always"} cache
 * @returns {VhostUserServer[]}
 */
export function vhostUserServers(cache) {
  const ours = [FSD, "--shared-dir", "{dir}", "--socket-path", "{socket}"];
  const options = ["--cache", cache, "--xattr", "--log-level", "warn"];
  const servers = [{ name: "ours", command: [process.execPath, ...ours, ...options] }];
  if (existsSync(VIRTIOFSD)) {
    const theirs = [VIRTIOFSD, "--socket-path={socket}", "-o", `source={dir},cache=${cache},xattr`];
    for (const threads of [0, 64]) {
      const pool = [`--thread-pool-size=${threads}`, "--rlimit-nofile=0", "-o", "log_level=err"];
      servers.push({ name: `virtiofsd, ${threads} threads`, command: [...theirs, ...pool] });
    }
  }
  return servers;
}

/**
 * @param {object} options
 * @param {string} options.backing on this file system
 * @param {readonly VhostUserServer[]} options.servers
 * @param {number} options.rounds
 * @param {(text: string) => void} options.note
 * @param {number} [options.files] of the data set
 * @param {number} [options.mib] of the file that is read and written
 * @returns {Promise<import("./metadata.mjs").Samples>}
 */
export async function measureVhostUser({ backing, servers, rounds, note, files = 1000, mib = 96 }) {
  const kernel = await findKernel();
  if (kernel === undefined) throw new Error("build the guest kernel first: npm run setup");
  const work = await mkdtemp(join(backing, "supermachine-bench-"));
  /** @type {import("./metadata.mjs").Samples} */
  const samples = new Map();
  try {
    const { initrd, metadata } = await buildGuest(work);
    for (let round = 1; round <= rounds; round++) {
      for (const server of servers) {
        const dir = join(work, "shared");
        await mkdir(dir);
        await run(metadata, ["prepare", join(dir, "data"), "0", String(files)]);
        const guest = `FILES=${files} MIB=${mib} PHASES=${GROUPS.join(",")}`;
        // The system call filter of virtiofsd 7.2 kills it now and then when it has a thread pool.
        const output = await measureOnce({
          server,
          dir,
          socket: join(work, "s"),
          kernel,
          initrd,
          guest,
        }).catch((error) => {
          if (server.name === "ours") throw error;
          note(error.message);
          return [];
        });
        for (const line of output) {
          const [phase = "", rate] = line.split("\t");
          // The guest's clock has ticks: a phase may be over within one.
          if (!Number.isFinite(Number(rate))) continue;
          const byServer = samples.get(phase) ?? new Map();
          samples.set(phase, byServer);
          byServer.set(server.name, [...(byServer.get(server.name) ?? []), Number(rate)]);
        }
        await rm(dir, { recursive: true });
      }
      note(`vhost-user on ${backing}: round ${round} of ${rounds}`);
    }
  } finally {
    await rm(work, { recursive: true });
  }
  return samples;
}

/** @param {string} work */
async function buildGuest(work) {
  const root = join(work, "root");
  await mkdir(root);
  const source = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));
  const compile = ["-static", "-O2", "-o"];
  await run("musl-gcc", [...compile, join(root, "init"), source("guest.c")]);
  await run("musl-gcc", [...compile, join(root, "metadata"), source("metadata.c")]);
  const initrd = join(work, "initrd");
  await run("sh", ["-c", 'cd "$1" && find . | cpio -o -H newc --quiet > "$2"', "sh", root, initrd]);
  const metadata = join(work, "metadata");
  await copyFile(join(root, "metadata"), metadata);
  return { initrd, metadata };
}

/**
 * Boots the guest once and gives the lines of its report.
 *
 * @param {{ server: VhostUserServer, dir: string, socket: string, kernel: string, initrd: string, guest: string }} options
 */
async function measureOnce({ server, dir, socket, kernel, initrd, guest }) {
  const [program = "", ...args] = server.command.map((word) =>
    word.replace("{dir}", dir).replace("{socket}", socket),
  );
  const daemon = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"] });
  // A guest whose server has gone waits for ever.
  const guestLife = new AbortController();
  const ended = new Promise((resolve) => {
    daemon.once("close", (status, signal) => {
      resolve(signal ?? `status ${status}`);
      setTimeout(() => guestLife.abort(), 5000).unref();
    });
  });
  try {
    await untilSocket(socket, daemon);
    const output = await run(
      "qemu-system-x86_64",
      [
        ...["-M", "microvm,acpi=off,memory-backend=ram", "-accel", "tcg", "-cpu", "max"],
        ...[
          "-m",
          `${MEMORY_MIB}M`,
          "-no-reboot",
          "-nodefaults",
          "-no-user-config",
          "-display",
          "none",
        ],
        ...[
          "-object",
          `memory-backend-memfd,id=ram,size=${MEMORY_MIB}M,share=on`,
          "-serial",
          "stdio",
        ],
        ...["-global", "virtio-mmio.force-legacy=false", "-chardev", `socket,id=fs,path=${socket}`],
        ...["-device", "vhost-user-fs-device,chardev=fs,tag=fs,queue-size=512"],
        ...["-kernel", kernel, "-initrd", initrd],
        ...["-append", `console=ttyS0 reboot=t panic=-1 quiet ${guest}`],
      ],
      { signal: guestLife.signal },
    ).catch(async (error) => {
      if (!guestLife.signal.aborted) throw error;
      throw new Error(`${server.name} ended with ${await ended}`);
    });
    const lines = output.split("\n").map((line) => line.trim());
    if (!lines.includes("done")) throw new Error(`${server.name}: ${output}`);
    return lines.filter((line) => line.includes("\t"));
  } finally {
    daemon.kill("SIGKILL");
    await ended;
    await rm(socket, { force: true });
  }
}

/**
 * Waits until somebody may connect. To connect for a try would be a front-end that leaves.
 *
 * @param {string} path
 * @param {import("node:child_process").ChildProcess} daemon
 */
async function untilSocket(path, daemon) {
  for (let i = 0; i < 500; i++) {
    if (existsSync(path)) return;
    if (daemon.exitCode !== null) throw new Error(`${daemon.spawnargs[0]} ended`);
    await sleep(10);
  }
  throw new Error(`nobody listens on ${path}`);
}
