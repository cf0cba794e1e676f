/**
 * The worker thread of one machine, in the process of its owner: it ends the machine and itself when it is
 * told to. It never ends before everything is released: what native code holds would stay with the owner.
 *
 * @packageDocumentation
 */
import { parentPort, workerData } from "node:worker_threads";
import { MachineLife } from "./machine/machine-life.js";
import { prepareBare } from "./machine/starter.js";
import { END, type MachineThreadData, type MachineThreadMessage } from "./machine/thread.js";

const { hypervisor, cpus, released } = workerData as MachineThreadData;
const owner = {
  isGone: false,
  tell: (message: MachineThreadMessage) => parentPort?.postMessage(message),
};
const life = new MachineLife(prepareBare(hypervisor, cpus), owner);

parentPort?.on("message", (message) => {
  if (message !== END) return;
  owner.isGone = true;
  void life.abandon();
});
process.on("uncaughtException", (error) => {
  owner.tell({ failure: error.stack ?? String(error) });
  void life.fail();
});
void life.ended.then(() => {
  const word = new Int32Array(released);
  Atomics.store(word, 0, 1);
  Atomics.notify(word, 0);
  parentPort?.close();
});
await life.open();
