// @ts-check
// npm run bench -- AREA [ARGUMENT…]: run bench/AREA.mjs, print a table, write bench/results/AREA.json;
// with arguments, which measure a part or in another way, only print.
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { median, percentile } from "./median.mjs";

/**
 * One thing measured, ours and a peer's.
 *
 * @typedef {object} Measurement
 * @property {string} name
 * @property {string} unit
 * @property {readonly number[]} ours samples
 * @property {readonly number[]} peer samples; empty where there is no peer
 * @property {string} peerName
 * @property {boolean} [higherIsBetter] default: lower is better
 *
 * A file in bench/ exports this as `measure`; `note` reports progress.
 * @typedef {(options: { note: (text: string) => void, args: readonly string[] }) => Promise<readonly Measurement[]>} Measure
 *
 * @typedef {object} Row
 * @property {string} name
 * @property {string} unit
 * @property {number} ours median
 * @property {number | null} peer median
 * @property {string} peerName
 * @property {number | null} ratio above 1 where ours is better
 * @property {number | null} p99 of ours; null where there are too few samples, or more is better
 * @property {number | null} peerP99
 * @property {number} n samples of ours
 */

/** Samples from which the slowest say something. */
const SAMPLES_FOR_P99 = 30;

/**
 * @param {Measurement} measurement
 * @returns {Row}
 */
function toRow({ name, unit, ours, peer, peerName, higherIsBetter = false }) {
  const our = median(ours);
  const their = median(peer);
  if (our === null) throw new Error(`${name} was not measured`);
  const ratio = their === null ? null : higherIsBetter ? our / their : their / our;
  const p99 = (/** @type {readonly number[]} */ samples) =>
    higherIsBetter || samples.length < SAMPLES_FOR_P99 ? null : percentile(samples, 0.99);
  return {
    ...{ name, unit, ours: our, peer: their, peerName, ratio },
    ...{ p99: p99(ours), peerP99: p99(peer), n: ours.length },
  };
}

async function machine() {
  const virtual = await readFile("/sys/class/dmi/id/sys_vendor", "utf8").catch(() => "");
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cpus: cpus().length,
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    kernel: (
      await readFile("/proc/sys/kernel/osrelease", "utf8").catch(() => process.platform)
    ).trim(),
    vendor: virtual.trim(),
    node: process.version,
  };
}

/** @param {readonly Row[]} rows */
function printTable(rows) {
  const number = (/** @type {number | null} */ value) =>
    value === null ? "-" : value.toLocaleString("en", { maximumSignificantDigits: 4 });
  const cells = [
    ["", "unit", "ours", "p99", "peer", "p99", "ratio", "n", "peer is"],
    ...rows.map(({ name, unit, ours, p99, peer, peerP99, peerName, ratio, n }) => [
      ...[name, unit, number(ours), number(p99), number(peer), number(peerP99)],
      ...[ratio === null ? "-" : ratio.toFixed(2), String(n), peerName],
    ]),
  ];
  const widths = cells[0]?.map((_, column) =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0)),
  );
  for (const row of cells) {
    const line = row.map((cell, column) => {
      const width = widths?.[column] ?? 0;
      return column >= 2 && column <= 7 ? cell.padStart(width) : cell.padEnd(width);
    });
    process.stdout.write(`${line.join("  ").trimEnd()}\n`);
  }
}

const BENCH = new URL("../bench/", import.meta.url);
const areas = (await readdir(BENCH)).flatMap((file) =>
  file.endsWith(".mjs") ? [file.slice(0, -4)] : [],
);
const [, , area, ...words] = process.argv;
const args = words.filter((word) => word !== "--save");
if (area === undefined || !areas.includes(area)) {
  process.stderr.write(
    `Usage: npm run bench -- AREA [ARGUMENT…]\nAreas: ${areas.join(", ")}\n--save puts the rows of a part of an area in place of those kept.\n`,
  );
  process.exit(2);
}
/** @type {{ measure: Measure }} */
const { measure } = await import(new URL(`${area}.mjs`, BENCH).href);
const note = (/** @type {string} */ text) => void process.stderr.write(`${text}\n`);
const rows = (await measure({ note, args })).map(toRow);
const file = fileURLToPath(new URL(`results/${area}.json`, BENCH));
if (args.length === 0 || words.includes("--save")) {
  const kept = args.length === 0 ? [] : await keptRows();
  const names = new Set(rows.map(({ name }) => name));
  const all = [...kept.filter(({ name }) => !names.has(name)), ...rows];
  await mkdir(new URL("results/", BENCH), { recursive: true });
  await writeFile(
    file,
    `${JSON.stringify({ machine: await machine(), rows: all }, undefined, 2)}\n`,
  );
}
printTable(rows);

/** @returns {Promise<Row[]>} */
async function keptRows() {
  try {
    return JSON.parse(await readFile(file, "utf8")).rows;
  } catch {
    return [];
  }
}
