import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { ExitReason } from "@supermachine/hypervisor";
import { requireFacility } from "@supermachine-internal/testing";
import { expect } from "vitest";
import { Kvm } from "../src/index.js";

const kvm = new Kvm();
const availability = kvm.isAvailable();

/** Kicks every vCPU it is told of as fast as it can, closed ones included. */
const KICKER = `
  import { parentPort, workerData, receiveMessageOnPort } from "node:worker_threads";
  const { createHypervisor } = await import(workerData.driver);
  const vm = createHypervisor().attachVm(workerData.vmToken);
  parentPort.postMessage("ready");
  const tokens = [];
  for (let kicks = 0; ; kicks++) {
    const message = receiveMessageOnPort(parentPort)?.message;
    if (message === "stop") { vm.close(); parentPort.postMessage(kicks); break; }
    if (message !== undefined) tokens.push(message);
    for (const token of tokens) vm.kick(token);
  }`;

const usable = {
  name: "kvm",
  missing: availability.usable ? undefined : availability.reason,
};

requireFacility(usable).test(
  "vCPUs close safely under a storm of kicks from another thread, and every run ends",
  async () => {
    using vm = kvm.createVm();
    using memory = kvm.allocateMemory(4096);
    // jmp to itself
    new Uint8Array(memory.view()).set([0xeb, 0xfe]);
    vm.mapMemory({
      slot: 0,
      guestAddress: 0x1000,
      hostAddress: memory.address,
      size: memory.length,
    });
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(KICKER)}`), {
      workerData: {
        driver: new URL("../node_modules/.driver/driver.js", import.meta.url).href,
        vmToken: vm.token,
      },
      execArgv: [],
    });
    await once(worker, "message");
    for (let index = 0; index < 8; index++) {
      const vcpu = vm.createVcpu(index);
      const special = vcpu.x86.getSpecialRegisters();
      vcpu.x86.setSpecialRegisters({ ...special, cs: { ...special.cs, base: 0n, selector: 0 } });
      vcpu.x86.setRegisters({ ...vcpu.x86.getRegisters(), rip: 0x1000n, rflags: 2n });
      worker.postMessage(vcpu.kickToken);
      for (let n = 0; n < 25; n++) expect(vcpu.run()).toBe(ExitReason.INTERRUPTED);
      vcpu.close();
    }
    worker.postMessage("stop");
    const [kicks] = await once(worker, "message");
    expect(kicks).toBeGreaterThan(100);
    await worker.terminate();
  },
);
