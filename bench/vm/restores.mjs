// @ts-check
// From a snapshot to the result of a first command, and what the pages cost that are still on disk then.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Image } from "supermachine";
import {
  boot,
  ISOLATIONS,
  machineOptions,
  PEER,
  restore,
  Samples,
  startPeer,
  withResource,
} from "./machine.mjs";

const DATA_MIB = 32;
const FILL = ["dd", "if=/dev/zero", "of=/tmp/data", "bs=1M", `count=${DATA_MIB}`];
/** Commands that touch memory which the snapshot has: they fault pages in, or copy them. */
const TOUCHES = {
  reads: ["dd", "if=/tmp/data", "of=/dev/null", "bs=1M"],
  writes: [...FILL, "conv=notrunc"],
};
const TAG = "bench";

/** @type {import("../vm.mjs").MeasureSection} */
export async function measure({ note, samples: count }) {
  const directory = await mkdtemp(join(tmpdir(), "supermachine-bench-"));
  const snapshots = { plain: join(directory, "plain"), filled: join(directory, "filled") };
  const incoming = join(directory, "qemu");
  const samples = new Samples();
  try {
    await withResource(boot("process"), async (vm) => {
      await vm.exec(["true"]);
      await vm.snapshot(snapshots.plain);
      await vm.exec(FILL);
      await vm.snapshot(snapshots.filled);
      for (const [name, argv] of Object.entries(TOUCHES)) {
        for (let round = 0; round < count; round++) {
          await samples.time(`running ${name}`, () => vm.exec(argv));
        }
      }
    });
    await withResource(startPeer(), async (peer) => {
      await peer.up();
      await peer.execute();
      await peer.save(incoming);
    });
    note("restores: saved");
    const first = new Samples();
    for (let round = 0; round <= count; round++) {
      const into = round === 0 ? first : samples;
      for (const isolation of ISOLATIONS) {
        await measureRestore(into, snapshots.plain, isolation, isolation);
      }
      await measureRestore(into, snapshots.plain, "inline", "verified", true);
      await measurePeer(into, incoming);
      note(`restores: ${round} of ${count}`);
    }
    for (let round = 0; round < count; round++) {
      const vm = await restore(snapshots.filled, "inline");
      await vm.exec(["true"]);
      for (const [name, argv] of Object.entries(TOUCHES)) {
        await samples.time(`restored ${name}`, () => vm.exec(argv));
      }
      await vm.kill();
    }
    note("restores: page faults");
    await measurePool(samples, count);
  } finally {
    await rm(directory, { recursive: true });
  }
  const peer = { peer: samples.of("peer"), peerName: `${PEER} -incoming` };
  const alone = { peer: [], peerName: "" };
  return [
    ...ISOLATIONS.map((kind) => ({
      name: `restore to first result, ${kind}`,
      unit: "ms",
      ours: samples.of(`${kind} both`),
      ...peer,
    })),
    { name: "acquire to first result, pool", unit: "ms", ours: samples.of("pool"), ...peer },
    {
      name: "restore to first result, inline, memory verified",
      unit: "ms",
      ours: samples.of("verified both"),
      ...peer,
    },
    ...ISOLATIONS.flatMap((kind) => [
      { name: `restore alone, ${kind}`, unit: "ms", ours: samples.of(`${kind} alone`), ...alone },
      { name: `first command, ${kind}`, unit: "ms", ours: samples.of(`${kind} first`), ...alone },
    ]),
    ...Object.keys(TOUCHES).map((name) => ({
      name: `command that ${name} ${DATA_MIB} MiB, restored`,
      unit: "ms",
      ours: samples.of(`restored ${name}`),
      peer: samples.of(`running ${name}`),
      peerName: "the same, not restored",
    })),
  ];
}

/**
 * @param {Samples} samples
 * @param {string} snapshot
 * @param {import("./machine.mjs").Isolation} isolation
 * @param {string} name
 * @param {boolean} [verifyMemory]
 */
async function measureRestore(samples, snapshot, isolation, name, verifyMemory) {
  const started = performance.now();
  const vm = await restore(snapshot, isolation, verifyMemory);
  const restored = performance.now();
  await vm.exec(["echo", "answer"]);
  const answered = performance.now();
  samples.add(`${name} both`, answered - started);
  samples.add(`${name} alone`, restored - started);
  samples.add(`${name} first`, answered - restored);
  await vm.kill();
}

/**
 * @param {Samples} samples
 * @param {string} incoming
 */
async function measurePeer(samples, incoming) {
  const started = performance.now();
  await withResource(startPeer(incoming), async (peer) => {
    await peer.execute();
    samples.add("peer", performance.now() - started);
  });
}

/**
 * A machine is ready when one is wanted: the next caller comes when the pool is as full as it should be.
 *
 * @param {Samples} samples
 * @param {number} count
 */
async function measurePool(samples, count) {
  const image = await Image.open("demo");
  const { directory } = await image.bake({ ...machineOptions("process"), tag: TAG });
  try {
    const options = { ...machineOptions("process"), warm: TAG, min: 1, max: 2 };
    await withResource(image.pool(options), async (pool) => {
      for (let round = 0; round < count; round++) {
        while (pool.stats().idle < 1 || pool.stats().starting > 0) await delay(20);
        const started = performance.now();
        await withResource(pool.acquire(), async (vm) => {
          await vm.exec(["echo", "answer"]);
          samples.add("pool", performance.now() - started);
        });
      }
    });
  } finally {
    await rm(directory, { recursive: true });
  }
}
