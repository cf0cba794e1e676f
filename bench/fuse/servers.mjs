// @ts-check
// The file servers that are compared: ours, and the C servers as far as this machine has them. The
// peers are built here, from the sources that the distribution installs as examples of libfuse.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findProgram, run } from "../../scripts/command.mjs";

const EXAMPLES = "/usr/share/doc/libfuse3-dev/examples";
const CLI = fileURLToPath(new URL("../../packages/supermachine/dist/cli.js", import.meta.url));

/**
 * A program that serves a directory at a mount point, in the foreground.
 *
 * @typedef {object} Server
 * @property {string} name
 * @property {boolean} ours
 * @property {readonly string[]} command with `{dir}` and `{mnt}` in the place of the two directories
 */

/**
 * Which of what the kernel was told it may keep: for one second (what our `auto` is, and the default of
 * passthrough_ll and bindfs), or for a day or longer (what passthrough_hp does, always).
 *
 * @typedef {"auto" | "always"} Cache
 */

/** @typedef {{ passthroughLl?: string, passthroughHp?: string, bindfs?: string }} Peers */

/**
 * Build and find the peers; `note` says what to install for the others.
 *
 * @param {string} work a directory for the programs
 * @param {(text: string) => void} note
 * @returns {Promise<Peers>}
 */
export async function findPeers(work, note) {
  /** @type {Peers} */
  const peers = {};
  const bindfs = await findProgram("bindfs");
  if (bindfs === undefined) note("without bindfs: install bindfs and fuse3");
  else peers.bindfs = bindfs;
  const ll = await buildExample("passthrough_ll.c", "gcc", work);
  if (ll === undefined) note("without passthrough_ll: install libfuse3-dev, gcc and pkg-config");
  else peers.passthroughLl = ll;
  // Debian leaves this example out: SUPERMACHINE_BENCH_HP names a build of it, best of libfuse 3.17 or later.
  const hp =
    process.env.SUPERMACHINE_BENCH_HP ?? (await buildExample("passthrough_hp.cc", "g++", work));
  if (hp === undefined) {
    note("without passthrough_hp: build libfuse's example and name it in SUPERMACHINE_BENCH_HP");
  } else peers.passthroughHp = hp;
  return peers;
}

/**
 * @param {string} source
 * @param {string} compiler
 * @param {string} work
 */
async function buildExample(source, compiler, work) {
  const path = join(EXAMPLES, source);
  if (!existsSync(path) || (await findProgram(compiler)) === undefined) return undefined;
  const flags = await run("pkg-config", ["--cflags", "--libs", "fuse3"]).catch(() => undefined);
  if (flags === undefined) return undefined;
  const program = join(work, source.replace(/\..*/, ""));
  await run(compiler, ["-O2", "-w", path, "-o", program, ...flags.trim().split(/\s+/)]);
  return program;
}

/**
 * Ours.
 *
 * @param {Cache} cache
 * @param {...string} options
 * @returns {Server}
 */
export function ourServer(cache, ...options) {
  const replacement = process.env.SUPERMACHINE_BENCH_MOUNT;
  const command = replacement?.split(" ") ?? [process.execPath, CLI, "mount", "{dir}", "{mnt}"];
  return { name: "ours", ours: true, command: [...command, "--cache", cache, ...options] };
}

/**
 * The peers with that cache mode. All of them keep extended attributes, as ours.
 *
 * @param {Peers} peers
 * @param {Cache} cache
 * @returns {Server[]}
 */
export function peerServers({ passthroughLl, passthroughHp, bindfs }, cache) {
  /** @type {Server[]} */
  const servers = [];
  if (passthroughLl !== undefined) {
    const options = `source={dir},cache=${cache},xattr,allow_other,default_permissions`;
    const command = [passthroughLl, "-f", "-o", options, "{mnt}"];
    servers.push({ name: "passthrough_ll", ours: false, command });
  }
  if (passthroughHp !== undefined && cache === "always")
    servers.push(highPerformance(passthroughHp));
  if (bindfs !== undefined && cache === "auto") {
    servers.push({ name: "bindfs", ours: false, command: [bindfs, "-f", "{dir}", "{mnt}"] });
  }
  return servers;
}

/**
 * passthrough_hp, whose file data goes through the server unless `passthrough` is asked for.
 *
 * @param {string} program
 * @param {{ passthrough?: boolean }} [options]
 * @returns {Server}
 */
export function highPerformance(program, { passthrough = false } = {}) {
  const options = passthrough ? [] : ["--nopassthrough"];
  const name = passthrough ? "passthrough_hp, passthrough" : "passthrough_hp";
  const command = [program, "--foreground", "--num-threads=2", ...options, "{dir}", "{mnt}"];
  return { name, ours: false, command };
}
