// @ts-check
// Directories served through FUSE, by ours and by the C servers: all mounted at once, and measured in
// turns. `npm run bench -- fuse [--quick] [--only metadata,data,…]`
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { run } from "../scripts/command.mjs";
import { compare } from "./fuse/compare.mjs";
import { measureMetadata } from "./fuse/metadata.mjs";
import { findPeers, ourServer, peerServers } from "./fuse/servers.mjs";

const MEMORY = "/dev/shm";
const DISK = tmpdir();

/** @type {import("../scripts/bench.mjs").Measure} */
export async function measure({ note }) {
  const { values } = parseArgs({
    args: process.argv.slice(3),
    options: { quick: { type: "boolean" }, only: { type: "string" } },
  });
  const wanted = values.only?.split(",");
  const quick = values.quick === true;
  const rounds = quick ? 3 : 5;
  const work = await mkdtemp(join(tmpdir(), "supermachine-bench-"));
  try {
    const peers = await findPeers(work, note);
    const rows = [];
    for (const [area, rowsOf] of Object.entries({ metadata: metadataRows })) {
      if (wanted?.includes(area) ?? true)
        rows.push(...(await rowsOf({ work, peers, rounds, quick, note })));
    }
    return rows;
  } finally {
    await rm(work, { recursive: true });
  }
}

/**
 * @param {object} options
 * @param {string} options.work
 * @param {import("./fuse/servers.mjs").Peers} options.peers
 * @param {number} options.rounds
 * @param {boolean} options.quick
 * @param {(text: string) => void} options.note
 */
async function metadataRows({ work, peers, rounds, quick, note }) {
  const program = join(work, "metadata");
  const source = fileURLToPath(new URL("fuse/metadata.c", import.meta.url));
  await run("gcc", ["-O2", "-Wall", source, "-o", program]);
  const rows = [];
  for (const backing of quick ? [MEMORY] : [MEMORY, DISK]) {
    for (const cache of /** @type {const} */ (["auto", "always"])) {
      const servers = [ourServer(cache), ...peerServers(peers, cache)];
      const phases = await measureMetadata({ program, backing, servers, rounds, note });
      for (const [phase, samples] of phases) {
        rows.push(compare({ name: `${backing}, ${cache}: ${phase}`, unit: "1/s", samples }));
      }
    }
  }
  return rows;
}
