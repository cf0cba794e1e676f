// @ts-check
// One machine from the library, in a program that is already running: prints the milliseconds from
// the call to the end of its first command. Its own process, so that every sample starts alike.
import { Vm } from "supermachine";

const [, , hypervisor, isolation, memory] = process.argv;
const started = performance.now();
const vm = await Vm.start({
  image: "demo",
  hypervisor: hypervisor === "kvm" ? "kvm" : "qemu",
  isolation: isolation === "inline" ? "inline" : "process",
  memoryMiB: Number(memory),
});
await vm.exec(["echo", "ready"]);
process.stdout.write(`${performance.now() - started}\n`);
await vm.stop();
