// @ts-check
// How many short jobs a pool does, each on a machine as new.
import { rm } from "node:fs/promises";
import { Image } from "supermachine";
import { ISOLATIONS, machineOptions, withResource } from "./machine.mjs";

const TAG = "bench";
const USERS = [1, 2, 4];
const WINDOW_MS = 20_000;

/** @type {import("../vm.mjs").MeasureSection} */
export async function measure({ note }) {
  const image = await Image.open("demo");
  const rows = [];
  for (const isolation of ISOLATIONS) {
    const options = machineOptions(isolation);
    const { directory } = await image.bake({ ...options, tag: TAG });
    try {
      for (const users of USERS) {
        const limits = { warm: TAG, min: users, max: users };
        const rate = await withResource(image.pool({ ...options, ...limits }), async (pool) => {
          // The first ones are made while the machine's memory is verified and code is compiled.
          await Promise.all(Array.from({ length: users }, () => cycle(pool)));
          return cyclesPerSecond(pool, users);
        });
        rows.push({
          ...{ name: `pool, ${users} users, ${isolation}`, unit: "cycles/s", ours: [rate] },
          ...{ peer: [], peerName: "", higherIsBetter: true },
        });
        note(`pool: ${users} users, ${isolation}: ${rate.toFixed(2)} cycles/s`);
      }
    } finally {
      await rm(directory, { recursive: true });
    }
  }
  return rows;
}

/** @param {import("supermachine").Pool} pool */
function cycle(pool) {
  return pool.use(async (vm) => {
    const { code } = await vm.exec(["true"]);
    if (code !== 0) throw new Error(`true ended with status ${code}`);
  });
}

/**
 * @param {import("supermachine").Pool} pool
 * @param {number} users
 */
async function cyclesPerSecond(pool, users) {
  const started = performance.now();
  let cycles = 0;
  const work = async () => {
    while (performance.now() - started < WINDOW_MS) {
      await cycle(pool);
      cycles++;
    }
  };
  await Promise.all(Array.from({ length: users }, work));
  return cycles / ((performance.now() - started) / 1000);
}
