// @ts-check
// From the start of a process to the output of a command in a virtual machine, and what the
// machine's processes hold in memory beside the guest's own. Here `supermachine run` uses QEMU and
// so does the peer; in the lab it is our KVM machine against QEMU's with `-accel kvm`. The peer
// boots the same kernel and mounts the same disk, but has no agent: its init prints and resets.
// Node's own start is part of the command's time, and large where the CPU is emulated; the rows of
// the library leave it out.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "../scripts/command.mjs";
import { measureRun } from "./run/measure-run.mjs";
import { peerCommand } from "./run/peer.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CLI = fileURLToPath(new URL("../packages/supermachine/dist/cli.js", import.meta.url));
const MEMORY_MIB = 256;
const IN_LAB = process.env.SUPERMACHINE_LAB === "1";
/** The lab's CPU is emulated: fewer samples, or nobody would wait for them. */
const SAMPLES = IN_LAB ? 3 : 7;

/** @type {import("../scripts/bench.mjs").Measure} */
export async function measure({ note }) {
  const own = await measureHere(note);
  const out = process.env.SUPERMACHINE_LAB_OUT;
  if (IN_LAB) {
    if (out) await writeFile(join(out, "run.json"), JSON.stringify(own));
    return own;
  }
  note("the same in the lab, with KVM");
  const results = await mkdtemp(join(tmpdir(), "supermachine-bench-"));
  try {
    await run(
      process.execPath,
      [
        "lab/lab.mjs",
        "--cpus",
        "2",
        "--out",
        results,
        process.execPath,
        "scripts/bench.mjs",
        "run",
      ],
      { cwd: ROOT },
    );
    return [...own, ...JSON.parse(await readFile(join(results, "run.json"), "utf8"))];
  } finally {
    await rm(results, { recursive: true });
  }
}

/**
 * @param {(text: string) => void} note
 * @returns {Promise<import("../scripts/bench.mjs").Measurement[]>}
 */
async function measureHere(note) {
  const hypervisor = IN_LAB ? "kvm" : "qemu";
  const accelerator = IN_LAB ? "kvm" : "tcg";
  const ours = {
    command: process.execPath,
    args: [
      ...[CLI, "run", "--hypervisor", hypervisor, "--memory", String(MEMORY_MIB)],
      ...["demo", "sh", "-c", "echo ready; sleep 2"],
    ],
  };
  const peer = await peerCommand({ accelerator, memoryMiB: MEMORY_MIB });
  /** @type {Record<"ours" | "peer", import("./run/measure-run.mjs").Run[]>} */
  const runs = { ours: [], peer: [] };
  await measureRun(ours, MEMORY_MIB); // warms the page cache, and the store, for both
  for (let index = 0; index < SAMPLES; index++) {
    runs.ours.push(await measureRun(ours, MEMORY_MIB));
    runs.peer.push(await measureRun(peer, MEMORY_MIB));
    note(`${hypervisor}: sample ${index + 1} of ${SAMPLES}`);
  }
  /** @type {Record<"process" | "inline", number[]>} */
  const library = { process: [], inline: [] };
  for (const isolation of /** @type {const} */ (["process", "inline"])) {
    const script = fileURLToPath(new URL("run/library.mjs", import.meta.url));
    const args = [script, hypervisor, isolation, String(MEMORY_MIB)];
    for (let index = 0; index < SAMPLES; index++)
      library[isolation].push(Number(await run(process.execPath, args)));
    note(`${hypervisor}: library, ${isolation}`);
  }
  const peerName = `qemu -M microvm -accel ${accelerator}`;
  return [
    {
      name: `${hypervisor}: start to first output`,
      unit: "ms",
      ours: runs.ours.map(({ outputAfter }) => outputAfter),
      peer: runs.peer.map(({ outputAfter }) => outputAfter),
      peerName,
    },
    ...Object.entries(library).map(([isolation, ours]) => ({
      name: `${hypervisor}: library call to first result, ${isolation}`,
      unit: "ms",
      ours,
      peer: runs.peer.map(({ outputAfter }) => outputAfter),
      peerName,
    })),
    {
      name: `${hypervisor}: memory beside the guest's`,
      unit: "MiB",
      ours: runs.ours.map(({ overheadMiB }) => overheadMiB),
      peer: runs.peer.map(({ overheadMiB }) => overheadMiB),
      peerName,
    },
  ];
}
