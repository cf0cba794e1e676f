// @ts-check
// What a command on a running machine costs, and how fast bytes go in and out.
import { boot, ISOLATIONS, Samples, withResource } from "./machine.mjs";

const MIB = 2 ** 20;
const ROUND_TRIPS = 200;
const TRANSFER_MIB = 64;
const TRANSFERS = 5;

/** @type {import("../vm.mjs").MeasureSection} */
export async function measure({ note }) {
  const samples = new Samples();
  for (const isolation of ISOLATIONS) {
    await withResource(boot(isolation), async (vm) => {
      for (let warm = 0; warm < 5; warm++) await vm.exec(["true"]);
      for (let round = 0; round < ROUND_TRIPS; round++) {
        await samples.time(`true ${isolation}`, () => vm.exec(["true"]));
      }
      for (let round = 0; round < TRANSFERS; round++) {
        samples.add(`out ${isolation}`, await perSecond(() => readOutput(vm)));
        samples.add(`in ${isolation}`, await perSecond(() => writeInput(vm)));
      }
    });
    note(`commands: ${isolation}`);
  }
  return ISOLATIONS.flatMap((isolation) => [
    row(`round trip of \`true\`, ${isolation}`, "ms", samples.of(`true ${isolation}`)),
    row(`standard output, ${isolation}`, "MiB/s", samples.of(`out ${isolation}`)),
    row(`vsock to the guest: standard input, ${isolation}`, "MiB/s", samples.of(`in ${isolation}`)),
  ]);
}

/**
 * @param {string} name
 * @param {string} unit
 * @param {number[]} ours
 */
function row(name, unit, ours) {
  return { name, unit, ours, peer: [], peerName: "", higherIsBetter: unit === "MiB/s" };
}

/** @param {() => Promise<void>} transfer */
async function perSecond(transfer) {
  const started = performance.now();
  await transfer();
  return TRANSFER_MIB / ((performance.now() - started) / 1000);
}

/** @param {import("supermachine").Vm} vm */
async function readOutput(vm) {
  const child = vm.spawn(["dd", "if=/dev/zero", "bs=64k", `count=${TRANSFER_MIB * 16}`]);
  let bytes = 0;
  for await (const { stream, data } of child) if (stream === "stdout") bytes += data.length;
  if (bytes !== TRANSFER_MIB * MIB) throw new Error(`${bytes} bytes arrived`);
}

/** @param {import("supermachine").Vm} vm */
async function writeInput(vm) {
  const child = vm.spawn(["sh", "-c", "cat >/dev/null"], { stdin: true });
  const chunk = new Uint8Array(64 * 1024);
  const writer = child.stdin.getWriter();
  for (let at = 0; at < TRANSFER_MIB * MIB; at += chunk.length) await writer.write(chunk);
  await writer.close();
  const { code } = await child.exited;
  if (code !== 0) throw new Error(`cat ended with status ${code}`);
}
