// @ts-check
import { median } from "../../scripts/median.mjs";

/**
 * A row of the table: ours against whichever peer is best at it.
 *
 * @param {object} row
 * @param {string} row.name
 * @param {string} row.unit
 * @param {ReadonlyMap<string, readonly number[]>} row.samples by server; more is better
 * @param {string} [row.ours] the server that is ours
 * @param {readonly string[]} [row.peers] the others; default: all
 * @returns {import("../../scripts/bench.mjs").Measurement}
 */
export function compare({ name, unit, samples, ours = "ours", peers }) {
  const others = peers ?? [...samples.keys()].filter((server) => server !== ours);
  let peerName = "";
  for (const server of others) {
    const rate = median(samples.get(server) ?? []) ?? 0;
    if (rate > (median(samples.get(peerName) ?? []) ?? 0)) peerName = server;
  }
  return {
    name,
    unit,
    ours: samples.get(ours) ?? [],
    peer: samples.get(peerName) ?? [],
    peerName,
    higherIsBetter: true,
  };
}
