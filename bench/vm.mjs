// @ts-check
// Machines as their users meet them: how fast one is ready, what a command costs, what an idle one takes.
// All of it is measured in the lab, on KVM, ours and QEMU's in turn; the lab's CPU is emulated, so times
// mean something only beside each other. Each section has a lab of its own: bench/vm/SECTION.mjs.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { CommandError, run } from "../scripts/command.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const IN_LAB = process.env.SUPERMACHINE_LAB === "1";
const SECTIONS = ["starts", "restores", "commands", "snapshots", "footprint", "pool"];
/** Takes an hour, so it is measured only when it is asked for by name. */
const LONG_SECTIONS = ["cycles"];
/** The emulated machine froze, which happens with more than one CPU. */
const STATUS_FROZEN = 123;

/**
 * What a section is given.
 *
 * @typedef {object} SectionOptions
 * @property {(text: string) => void} note
 * @property {number} samples of everything that takes seconds
 * @property {number[]} cpus of the machines in `cycles`
 *
 * A file in bench/vm/ that is a section exports this as `measure`.
 * @typedef {(options: SectionOptions) => Promise<readonly import("../scripts/bench.mjs").Measurement[]>} MeasureSection
 */

/** @type {import("../scripts/bench.mjs").Measure} */
export async function measure({ note, args }) {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      samples: { type: "string", default: "30" },
      cpus: { type: "string", default: "1,2,4" },
      "lab-cpus": { type: "string", default: "1" },
    },
  });
  const unknown = positionals.find((name) => ![...SECTIONS, ...LONG_SECTIONS].includes(name));
  if (unknown !== undefined) {
    throw new Error(`no section ${unknown}: ${[...SECTIONS, ...LONG_SECTIONS].join(", ")}`);
  }
  const sections = positionals.length === 0 ? SECTIONS : positionals;
  const { samples, cpus, "lab-cpus": labCpus } = values;
  if (!IN_LAB) {
    const rows = [];
    for (const section of sections) {
      note(section);
      const own = ["--samples", samples, "--cpus", cpus, section];
      try {
        rows.push(...(await measureInLab(own, Number(labCpus))));
      } catch (error) {
        // The figures of the others are not lost: its rows are missing, and the status tells.
        note(`${section}: ${error instanceof Error ? error.message : error}`);
        process.exitCode = 1;
      }
    }
    return rows;
  }
  const rows = [];
  for (const section of sections) {
    /** @type {{ measure: MeasureSection }} */
    const { measure } = await import(new URL(`vm/${section}.mjs`, import.meta.url).href);
    const options = { note, samples: Number(samples), cpus: cpus.split(",").map(Number) };
    rows.push(...(await measure(options)));
  }
  const out = process.env.SUPERMACHINE_LAB_OUT;
  if (out) await writeFile(join(out, "vm.json"), JSON.stringify(rows));
  return rows;
}

/**
 * @param {readonly string[]} args
 * @param {number} cpus of the lab
 * @returns {Promise<import("../scripts/bench.mjs").Measurement[]>}
 */
async function measureInLab(args, cpus) {
  const results = await mkdtemp(join(tmpdir(), "supermachine-bench-"));
  const lab = ["lab/lab.mjs", "--cpus", String(cpus), "--out", results, process.execPath];
  try {
    // Shows its table as well: the first figures are there long before the last.
    const options = { cwd: ROOT, inherit: true };
    await run(process.execPath, [...lab, "scripts/bench.mjs", "vm", ...args], options);
    return JSON.parse(await readFile(join(results, "vm.json"), "utf8"));
  } catch (error) {
    if (cpus === 1 || !(error instanceof CommandError) || error.status !== STATUS_FROZEN) {
      throw error;
    }
    return await measureInLab(args, 1);
  } finally {
    await rm(results, { recursive: true });
  }
}
