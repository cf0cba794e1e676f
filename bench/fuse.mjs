// @ts-check
// Directories served through FUSE, by ours and by the C servers: all mounted at once, and measured in
// turns. `npm run bench -- fuse [--quick] [--rounds N] [--only metadata,xattr,data,vhost-user,memory]`
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { run } from "../scripts/command.mjs";
import { compare } from "./fuse/compare.mjs";
import { measureData } from "./fuse/data.mjs";
import { measureMetadata } from "./fuse/metadata.mjs";
import { findPeers, highPerformance, ourServer, peerServers } from "./fuse/servers.mjs";
import { measureVhostUser, vhostUserServers } from "./fuse/vhost-user.mjs";

const MEMORY = "/dev/shm";
const DISK = tmpdir();

const AREAS = {
  metadata: metadataRows,
  xattr: xattrRows,
  data: dataRows,
  "vhost-user": vhostUserRows,
  memory: memoryRows,
};

/** @type {import("../scripts/bench.mjs").Measure} */
export async function measure({ note }) {
  const { values } = parseArgs({
    args: process.argv.slice(3),
    options: {
      quick: { type: "boolean" },
      only: { type: "string" },
      rounds: { type: "string" },
    },
  });
  const wanted = values.only?.split(",");
  const quick = values.quick === true;
  const rounds = Number(values.rounds ?? (quick ? 3 : 5));
  const work = await mkdtemp(join(tmpdir(), "supermachine-bench-"));
  try {
    const peers = await findPeers(work, note);
    const rows = [];
    for (const [area, rowsOf] of Object.entries(AREAS)) {
      if (wanted?.includes(area) ?? true)
        rows.push(...(await rowsOf({ work, peers, rounds, quick, note })));
    }
    return rows;
  } finally {
    await rm(work, { recursive: true });
  }
}

/**
 * @typedef {object} Environment
 * @property {string} work a directory for programs
 * @property {import("./fuse/servers.mjs").Peers} peers
 * @property {number} rounds
 * @property {boolean} quick
 * @property {(text: string) => void} note
 */

/** @param {Environment} environment */
async function metadataRows({ work, peers, rounds, quick, note }) {
  const program = await buildMetadataProgram(work);
  const rows = [];
  const files = quick ? 1500 : 5000;
  /** @type {{ backing: string, cache: import("./fuse/servers.mjs").Cache, files: number, groups?: string[] }[]} */
  const settings = [
    { backing: MEMORY, cache: "auto", files },
    { backing: MEMORY, cache: "always", files },
  ];
  // A journal makes the disk the limit of what changes it, and preparing slow: listings would take minutes.
  const groups = ["lookups", "changes"];
  if (!quick) settings.push({ backing: DISK, cache: "auto", files: 2000, groups });
  for (const { backing, cache, ...set } of settings) {
    const servers = [ourServer(cache), ...peerServers(peers, cache)];
    const phases = await measureMetadata({ program, backing, servers, rounds, note, ...set });
    for (const [phase, samples] of phases) {
      rows.push(compare({ name: `${backing}, ${cache}: ${phase}`, unit: "1/s", samples }));
    }
  }
  return rows;
}

/**
 * With extended attributes turned off the kernel asks but once: the default of passthrough_ll.
 *
 * @param {Environment} environment
 */
async function xattrRows({ work, peers, rounds, note }) {
  const { passthroughLl } = peers;
  if (passthroughLl === undefined) return [];
  const options = "source={dir},cache=auto,no_xattr,allow_other,default_permissions";
  const command = [passthroughLl, "-f", "-o", options, "{mnt}"];
  const servers = [
    ourServer("auto", "--no-xattr"),
    { name: "passthrough_ll", ours: false, command },
  ];
  const program = await buildMetadataProgram(work);
  const groups = ["lookups"];
  const phases = await measureMetadata({
    ...{ program, backing: MEMORY, servers, rounds, groups, note },
  });
  const samples = phases.get("getxattr absent") ?? new Map();
  return [compare({ name: `${MEMORY}, no xattr: getxattr absent`, unit: "1/s", samples })];
}

/**
 * Data is compared with the file system beneath when the kernel reads and writes the files by itself
 * (passthrough), and with the best C server when not.
 *
 * @param {Environment} environment
 */
async function dataRows({ peers, rounds, quick, note }) {
  const direct = { ...ourServer("auto"), name: "ours, passthrough" };
  const served = ourServer("auto", "--no-passthrough");
  const hp = peers.passthroughHp;
  /** @type {(import("./fuse/servers.mjs").Server | "native")[]} */
  const servers = [
    "native",
    direct,
    served,
    ...(hp === undefined ? [] : [highPerformance(hp), highPerformance(hp, { passthrough: true })]),
    ...peerServers(peers, "auto"),
  ];
  const rows = [];
  for (const backing of quick ? [MEMORY] : [MEMORY, DISK]) {
    const phases = await measureData({ backing, servers, rounds, milliseconds: 500, note });
    for (const [phase, { unit, samples }] of phases) {
      const name = `${backing}: ${phase}`;
      const through = { name: `${name}, passthrough`, unit, samples, ours: direct.name };
      rows.push(compare({ ...through, peers: ["native"] }));
      const other = "passthrough_hp, passthrough";
      if (hp !== undefined) rows.push(compare({ ...through, peers: [other] }));
      const servedBy = [...samples.keys()].filter((server) => !/native|passthrough$/.test(server));
      rows.push(compare({ name, unit, samples, peers: servedBy.filter((s) => s !== "ours") }));
    }
  }
  return rows;
}

/** @param {Environment} environment */
async function vhostUserRows({ rounds, note }) {
  const rows = [];
  for (const cache of /** @type {const} */ (["auto", "always"])) {
    const servers = vhostUserServers(cache);
    const phases = await measureVhostUser({ backing: MEMORY, servers, rounds, note });
    for (const [phase, samples] of phases) {
      rows.push(compare({ name: `vhost-user, ${cache}: ${phase}`, unit: "1/s", samples }));
    }
  }
  return rows;
}

/**
 * What nodes take that the client knows, with 1,024 fds. The C servers keep an fd for each.
 *
 * @param {Environment} environment
 */
async function memoryRows({ quick, note }) {
  const script = fileURLToPath(
    new URL("../packages/posix-backend/bench/inodes.mjs", import.meta.url),
  );
  const nodes = quick ? 50_000 : 1_000_000;
  note(`memory: ${nodes} nodes`);
  const command = `ulimit -n 1024; exec "$0" --expose-gc "$1" ${nodes} ${MEMORY}`;
  const output = await run("bash", ["-c", command, process.execPath, script]);
  const figure = (/** @type {RegExp} */ label) => [Number(label.exec(output)?.[1])];
  const unit = "B";
  const alone = { unit, peer: [], peerName: "" };
  return [
    { ...alone, name: `memory per node, ${nodes} nodes`, ours: figure(/bytes per node +([\d.]+)/) },
    { ...alone, name: "memory per node, once forgotten", ours: figure(/after forget +([\d.-]+)/) },
  ];
}

/** @param {string} work */
async function buildMetadataProgram(work) {
  const program = join(work, "metadata");
  const source = fileURLToPath(new URL("fuse/metadata.c", import.meta.url));
  await run("gcc", ["-O2", "-Wall", source, "-o", program]);
  return program;
}
