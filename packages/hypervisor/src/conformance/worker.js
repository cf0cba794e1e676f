// @ts-check
// The second thread of the conformance suite. Plain JavaScript, because Node.js 20 cannot start a
// worker from TypeScript; it drives the built driver under test, which `driverModule` names.
import { parentPort, workerData } from "node:worker_threads";

/** @import { Command, Report } from "./thread.js" */

if (parentPort === null) throw new Error("this module runs in a worker thread");
const port = parentPort;
/** @type {{ createHypervisor(): import("../hypervisor.js").Hypervisor }} */
const driver = await import(workerData.driverModule);
const hypervisor = driver.createHypervisor();

/** @param {Report} report */
const report = (report) => port.postMessage(report);

const timers = new Map();

/** @param {Extract<Command, { type: "run" }>} command */
function runVcpu({ vmToken, index, rip }) {
  const vm = hypervisor.attachVm(vmToken);
  const vcpu = vm.createVcpu(index);
  const { x86 } = vcpu;
  if (x86 === undefined) throw new Error("not an x86 vCPU");
  const special = x86.getSpecialRegisters();
  x86.setSpecialRegisters({ ...special, cs: { ...special.cs, base: 0n, selector: 0 } });
  x86.setRegisters({ ...x86.getRegisters(), rip: BigInt(rip), rsp: 0x8000n, rflags: 2n });
  report({ type: "entering", kickToken: vcpu.kickToken });
  const reason = vcpu.run();
  const description = vcpu.exit.describe();
  vcpu.close();
  vm.close();
  report({ type: "exit", reason, description });
}

port.on("message", (/** @type {Command} */ command) => {
  switch (command.type) {
    case "run":
      return runVcpu(command);
    case "kick": {
      const { id, vmToken, kickToken, after } = command;
      const timer = setTimeout(() => {
        timers.delete(id);
        const vm = hypervisor.attachVm(vmToken);
        vm.kick(kickToken);
        vm.close();
      }, after);
      timers.set(id, timer);
      return;
    }
    case "cancel":
      clearTimeout(timers.get(command.id));
      timers.delete(command.id);
      return;
  }
});
report({ type: "ready" });
