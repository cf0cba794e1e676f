// @ts-check
// From nothing to the result of a first command, in a program that is already running.
import { boot, ISOLATIONS, PEER, Samples, startPeer } from "./machine.mjs";

/** @type {import("../vm.mjs").MeasureSection} */
export async function measure({ note, samples: count }) {
  const samples = new Samples();
  for (let round = 0; round <= count; round++) {
    for (const isolation of ISOLATIONS) {
      /** @type {import("supermachine").Vm | undefined} */
      let vm;
      await samples.time(isolation, async () => {
        vm = await boot(isolation);
        await vm.exec(["echo", "answer"]);
      });
      await vm?.kill();
    }
    /** @type {import("./qemu-peer.mjs").QemuPeer | undefined} */
    let peer;
    await samples.time("peer", async () => {
      peer = await startPeer();
      await peer.up();
      await peer.execute();
    });
    await peer?.[Symbol.asyncDispose]();
    if (round === 0) samples.clear();
    note(`starts: ${round} of ${count}`);
  }
  return ISOLATIONS.map((isolation) => ({
    name: `cold start to first result, ${isolation}`,
    unit: "ms",
    ours: samples.of(isolation),
    peer: samples.of("peer"),
    peerName: PEER,
  }));
}
