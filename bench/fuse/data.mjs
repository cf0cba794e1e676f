// @ts-check
// File data, with fio(1): one process that waits for each read or write.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../scripts/command.mjs";
import { Mounted } from "./mounted.mjs";

const SIZE_MIB = 256;

/**
 * Sequential phases go once over the file, random ones on for a while. Writing makes a new file; reading
 * finds nothing in the page cache of the mount (`invalidate`), unless the phase is of the cache.
 *
 * @type {Readonly<Record<string, { unit: "MiB/s" | "1/s", options: readonly string[] }>>}
 */
const PHASES = {
  "write 1 MiB": { unit: "MiB/s", options: ["--rw=write", "--bs=1m", "--end_fsync=1"] },
  "read 1 MiB": { unit: "MiB/s", options: ["--rw=read", "--bs=1m", "--invalidate=1"] },
  "read 1 MiB, O_DIRECT": { unit: "MiB/s", options: ["--rw=read", "--bs=1m", "--direct=1"] },
  "random read 4 KiB": { unit: "1/s", options: ["--rw=randread", "--bs=4k", "--invalidate=0"] },
  "random read 4 KiB, O_DIRECT": {
    unit: "1/s",
    options: ["--rw=randread", "--bs=4k", "--direct=1"],
  },
  "random write 4 KiB": { unit: "1/s", options: ["--rw=randwrite", "--bs=4k", "--invalidate=0"] },
};

/**
 * @param {object} options
 * @param {string} options.backing on this file system
 * @param {readonly (import("./servers.mjs").Server | "native")[]} options.servers
 * @param {number} options.rounds
 * @param {number} options.milliseconds of each random phase
 * @param {(text: string) => void} options.note
 * @returns {Promise<Map<string, { unit: string, samples: Map<string, number[]> }>>} by phase, by server
 */
export async function measureData({ backing, servers, rounds, milliseconds, note }) {
  const work = await mkdtemp(join(backing, "supermachine-bench-"));
  /** @type {Mounted[]} */
  const running = [];
  /** @type {Map<string, string>} */
  const directories = new Map();
  const phases = new Map(
    Object.entries(PHASES).map(([phase, { unit }]) => [phase, { unit, samples: new Map() }]),
  );
  try {
    for (const [index, server] of servers.entries()) {
      const directory = join(work, `shared${index}`);
      await mkdir(directory);
      if (server === "native") {
        directories.set(server, directory);
        continue;
      }
      const mounted = await Mounted.start(server, directory, join(work, `mount${index}`));
      running.push(mounted);
      directories.set(server.name, mounted.path);
    }
    for (let round = 1; round <= rounds; round++) {
      for (const [phase, { unit, options }] of Object.entries(PHASES)) {
        for (const [server, directory] of directories) {
          if (phase === "write 1 MiB") await run("rm", ["-f", join(directory, "data")]);
          const rate = await runFio(directory, unit, options, milliseconds);
          const { samples } = phases.get(phase) ?? { samples: new Map() };
          samples.set(server, [...(samples.get(server) ?? []), rate]);
        }
      }
      note(`data on ${backing}: round ${round} of ${rounds}`);
    }
  } finally {
    for (const mounted of running) await mounted.stop();
    await rm(work, { recursive: true });
  }
  return phases;
}

/**
 * @param {string} directory
 * @param {"MiB/s" | "1/s"} unit
 * @param {readonly string[]} options
 * @param {number} milliseconds
 */
async function runFio(directory, unit, options, milliseconds) {
  const timed = unit === "1/s" ? ["--time_based", `--runtime=${milliseconds}ms`] : [];
  const output = await run("fio", [
    ...["--name=data", `--directory=${directory}`, "--filename=data", `--size=${SIZE_MIB}m`],
    ...["--ioengine=psync", "--output-format=json", ...timed, ...options],
  ]);
  // fio may print notes before its document.
  const [job] = JSON.parse(output.slice(output.indexOf("{"))).jobs;
  const result = job.write.total_ios > 0 ? job.write : job.read;
  return unit === "1/s" ? result.iops : result.bw / 1024;
}
