// @ts-check
// What it takes to keep a running machine.
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { boot, PEER, restore, Samples, startPeer, withResource } from "./machine.mjs";

const MIB = 2 ** 20;
const BLOCK = 512; // stat(2): of st_blocks, whatever the file system's are
const CHANGE = ["dd", "if=/dev/urandom", "of=/tmp/changed", "bs=1M", "count=8"];

/** @type {import("../vm.mjs").MeasureSection} */
export async function measure({ note, samples: count }) {
  const directory = await mkdtemp(join(tmpdir(), "supermachine-bench-"));
  const samples = new Samples();
  try {
    const base = join(directory, "base");
    await withResource(boot("process"), async (vm) => {
      await vm.exec(["true"]);
      await vm.snapshot(base);
      for (let round = 0; round < count; round++) {
        const whole = join(directory, "whole");
        await samples.time("whole", () => vm.snapshot(whole));
        samples.add("whole size", await sizeOf(whole));
        await rm(whole, { recursive: true });
      }
    });
    note("snapshots: whole");
    await withResource(restore(base, "process"), async (vm) => {
      await vm.exec(CHANGE);
      for (let round = 0; round < count; round++) {
        const difference = join(directory, "difference");
        await samples.time("difference", () => vm.snapshot(difference, { base }));
        samples.add("difference size", await sizeOf(difference, base));
        await rm(difference, { recursive: true });
      }
    });
    note("snapshots: differences");
    const file = join(directory, "qemu");
    await withResource(startPeer(), async (peer) => {
      await peer.up();
      await peer.execute();
      await samples.time("peer", () => peer.save(file));
    });
    samples.add("peer size", (await stat(file)).size / MIB);
  } finally {
    await rm(directory, { recursive: true });
  }
  const peerName = `${PEER}, migrated to a file once`;
  return [
    {
      ...{ name: "snapshot, whole", unit: "ms", ours: samples.of("whole") },
      ...{ peer: samples.of("peer"), peerName },
    },
    {
      ...{ name: "snapshot, whole: size", unit: "MiB", ours: samples.of("whole size") },
      ...{ peer: samples.of("peer size"), peerName },
    },
    {
      ...{ name: "snapshot, what differs", unit: "ms", ours: samples.of("difference") },
      ...{ peer: samples.of("whole"), peerName: "ours, whole" },
    },
    {
      ...{ name: "snapshot, what differs: size", unit: "MiB" },
      ...{ ours: samples.of("difference size"), peer: samples.of("whole size") },
      peerName: "ours, whole",
    },
  ];
}

/**
 * MiB that the files of a snapshot take, without those it has in common with another.
 *
 * @param {string} directory
 * @param {string} [without]
 */
async function sizeOf(directory, without) {
  const files = await filesOf(directory);
  const others = without === undefined ? [] : await filesOf(without);
  const known = new Set(others.map(({ ino }) => ino));
  const own = files.filter(({ ino }) => !known.has(ino));
  return own.reduce((total, { blocks }) => total + blocks * BLOCK, 0) / MIB;
}

/** @param {string} directory */
async function filesOf(directory) {
  const names = await readdir(directory);
  return Promise.all(names.map((name) => stat(join(directory, name))));
}
