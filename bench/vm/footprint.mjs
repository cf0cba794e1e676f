// @ts-check
// What machines that do nothing take of their host: memory and processor time.
import { fork } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { residentBeside } from "../run/measure-run.mjs";
import { boot, MEMORY_MIB, PEER, Samples, startPeer, withResource } from "./machine.mjs";

const SETTLE_MS = 3_000;
const WATCH_MS = 10_000;
const WATCHES = 3;
const FORKS = 20;
/** Where a machine is part of the program that starts it. */
const WITHIN = /** @type {const} */ (["thread", "inline"]);
const KIB_PER_MIB = 1024;

/** @type {import("../vm.mjs").MeasureSection} */
export async function measure({ note }) {
  const samples = new Samples();
  await withResource(boot("process"), async (vm) => {
    await vm.exec(["true"]);
    await watch(samples, "process", vm.description.pid);
  });
  note("footprint: process");
  await withResource(startPeer(), async (peer) => {
    await peer.up();
    await peer.execute();
    await watch(samples, "peer", peer.pid);
    samples.add("peer whole", proportional([peer.pid]));
  });
  note("footprint: peer");
  for (const isolation of WITHIN) {
    await watchWithin(samples, isolation);
    note(`footprint: ${isolation}`);
  }
  await withResource(boot("process"), (vm) => watchForks(samples, vm));
  const peer = (/** @type {string} */ what) => ({ peer: samples.of(what), peerName: PEER });
  return [
    ...["process", ...WITHIN].flatMap((kind) => [
      {
        ...{ name: `idle machine, ${kind}: memory beside the guest's`, unit: "MiB" },
        ...{ ours: samples.of(`${kind} memory`), ...peer("peer memory") },
      },
      {
        ...{ name: `idle machine, ${kind}: processor time`, unit: "ms/s" },
        ...{ ours: samples.of(`${kind} time`), ...peer("peer time") },
      },
    ]),
    {
      ...{ name: `each of ${FORKS} forks: memory, the guest's included`, unit: "MiB" },
      ...{ ours: samples.of("fork"), ...peer("peer whole") },
    },
    {
      ...{ name: `each of ${FORKS} forks: less memory available on the host`, unit: "MiB" },
      ...{ ours: samples.of("fork taken"), ...peer("peer whole") },
    },
  ];
}

/**
 * @param {Samples} samples
 * @param {string} kind
 * @param {number} pid
 * @param {number} [before] MiB that the process had before the machine
 */
async function watch(samples, kind, pid, before = 0) {
  await delay(SETTLE_MS);
  for (let round = 0; round < WATCHES; round++) {
    const started = performance.now();
    const time = processorTime(pid);
    await delay(WATCH_MS);
    const seconds = (performance.now() - started) / 1000;
    samples.add(`${kind} time`, (processorTime(pid) - time) / seconds);
    samples.add(`${kind} memory`, residentBeside(pid, MEMORY_MIB) - before);
  }
}

/**
 * In a program of its own, which otherwise does nothing.
 *
 * @param {Samples} samples
 * @param {(typeof WITHIN)[number]} isolation
 */
async function watchWithin(samples, isolation) {
  const child = fork(fileURLToPath(new URL("idle-program.mjs", import.meta.url)));
  const exited = once(child, "exit");
  try {
    await once(child, "message");
    await delay(SETTLE_MS);
    const pid = child.pid ?? 0;
    const before = residentBeside(pid, MEMORY_MIB);
    child.send(isolation);
    await once(child, "message");
    await watch(samples, isolation, pid, before);
  } finally {
    child.kill("SIGKILL");
    await exited;
  }
}

/**
 * @param {Samples} samples
 * @param {import("supermachine").Vm} vm
 */
async function watchForks(samples, vm) {
  await vm.exec(["true"]);
  await delay(SETTLE_MS);
  const { pid } = vm.description;
  const before = { resident: proportional([pid]), available: availableMemory() };
  const forks = await vm.fork(FORKS);
  try {
    for (const each of forks) await each.exec(["true"]);
    await delay(SETTLE_MS);
    const pids = [pid, ...forks.map(({ description }) => description.pid)];
    samples.add("fork", (proportional(pids) - before.resident) / FORKS);
    samples.add("fork taken", (before.available - availableMemory()) / FORKS);
  } finally {
    await Promise.all(forks.map((each) => each.kill()));
  }
}

/**
 * Memory of processes in MiB; a page that several of them show counts once.
 *
 * @param {readonly number[]} pids
 */
function proportional(pids) {
  const each = pids.map((pid) => {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
    return Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1]);
  });
  return each.reduce((total, kibibytes) => total + kibibytes, 0) / KIB_PER_MIB;
}

function availableMemory() {
  const memory = readFileSync("/proc/meminfo", "utf8");
  return Number(/^MemAvailable:\s+(\d+) kB$/m.exec(memory)?.[1]) / KIB_PER_MIB;
}

/**
 * Milliseconds that the threads of a process have run.
 *
 * @param {number} pid
 */
function processorTime(pid) {
  const threads = readdirSync(`/proc/${pid}/task`).map((thread) => {
    const [nanoseconds] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ");
    return Number(nanoseconds);
  });
  return threads.reduce((total, nanoseconds) => total + nanoseconds, 0) / 1e6;
}
