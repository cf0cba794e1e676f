// @ts-check
// Metadata operations: every server runs the same phases, in turns, so that what else the machine does
// meanwhile falls on all of them alike.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../scripts/command.mjs";
import { Mounted } from "./mounted.mjs";

const GROUPS = ["lookups", "listing", "long-listing", "changes"];

/** @typedef {Map<string, Map<string, number[]>>} Samples by phase, then by server; operations a second */

/**
 * @param {object} options
 * @param {string} options.program metadata.c, compiled
 * @param {string} options.backing on this file system
 * @param {readonly import("./servers.mjs").Server[]} options.servers
 * @param {number} options.rounds
 * @param {readonly string[]} [options.groups]
 * @param {(text: string) => void} options.note
 * @param {number} [options.files]
 * @returns {Promise<Samples>}
 */
export async function measureMetadata({
  program,
  backing,
  servers,
  rounds,
  groups = GROUPS,
  note,
  files = 5000,
}) {
  const work = await mkdtemp(join(backing, "supermachine-bench-"));
  /** @type {{ server: import("./servers.mjs").Server, mounted: Mounted }[]} */
  const running = [];
  /** @type {Samples} */
  const samples = new Map();
  try {
    for (const [index, server] of servers.entries()) {
      const directory = join(work, `shared${index}`);
      await mkdir(directory);
      const mounted = await Mounted.start(server, directory, join(work, `mount${index}`));
      running.push({ server, mounted });
    }
    // The first round warms up what needs it, for all, and does not count.
    const listed = groups.some((group) => group.endsWith("listing")) ? 10_000 : 0;
    for (let round = 0; round <= rounds; round++) {
      const set = ["data", String(round), String(files)];
      for (const index of servers.keys())
        await runIn(join(work, `shared${index}`), program, "prepare", [...set, String(listed)]);
      for (const group of groups) {
        for (const { server, mounted } of running) {
          await mounted.forget();
          const output = await runIn(mounted.path, program, group, set).catch((error) => {
            if (server.ours) throw error;
            note(`${server.name} failed: ${error.message}`);
            return "";
          });
          if (round > 0) record(samples, server.name, output);
        }
      }
      for (const index of servers.keys())
        await runIn(join(work, `shared${index}`), program, "remove", set);
      if (round > 0) note(`metadata on ${backing}: round ${round} of ${rounds}`);
    }
  } finally {
    for (const { mounted } of running) await mounted.stop();
    await rm(work, { recursive: true });
  }
  return samples;
}

/**
 * @param {string} directory
 * @param {string} program
 * @param {string} group
 * @param {readonly string[]} set
 */
function runIn(directory, program, group, [name = "", ...rest]) {
  return run(program, [group, join(directory, name), ...rest]);
}

/**
 * @param {Samples} samples
 * @param {string} server
 * @param {string} output
 */
function record(samples, server, output) {
  for (const line of output.split("\n")) {
    const [phase = "", rate] = line.split("\t");
    if (rate === undefined) continue;
    const byServer = samples.get(phase) ?? new Map();
    samples.set(phase, byServer);
    byServer.set(server, [...(byServer.get(server) ?? []), Number(rate)]);
  }
}
