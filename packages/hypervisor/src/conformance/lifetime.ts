import { existsSync, readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { Machine } from "./machine.js";
import type { Suite } from "./suite.js";

const FD_DIRECTORY = "/proc/self/fd";
const openFiles = () => readdirSync(FD_DIRECTORY).length;

/** Who owns what, and that it is given back. */
export function testLifetime(suite: Suite): void {
  const { hypervisor } = suite;

  test("closing VMs and vCPUs releases every file descriptor", (context) => {
    if (!existsSync(FD_DIRECTORY)) context.skip(`no ${FD_DIRECTORY} here`);
    const before = openFiles();
    for (let n = 0; n < 20; n++) {
      using machine = new Machine(hypervisor, { code: [0xf4], interruptController: n % 2 === 0 });
      using attached = hypervisor.attachVm(machine.vm.token);
      expect(openFiles()).toBeGreaterThan(before);
      attached.close();
    }
    expect(openFiles()).toBe(before);
  });

  test("closing an attached handle leaves the VM alone", () => {
    using machine = suite.machine({ code: [0xe6, 0x10, 0xf4] });
    const attached = hypervisor.attachVm(structuredClone(machine.vm.token));
    attached.close();
    attached.close();
    expect(machine.runToHalt()).toHaveLength(1);
    expect(() => attached.unmapMemory(0)).toThrow(/closed/);
  });

  test("closed handles refuse work, and closing again is nothing", () => {
    const machine = new Machine(hypervisor, { code: [0xf4] });
    machine[Symbol.dispose]();
    machine[Symbol.dispose]();
    expect(() => machine.vcpu.run()).toThrow(/closed/);
    expect(() => machine.vcpu.x86?.getRegisters()).toThrow(/closed/);
    expect(() => machine.vm.createVcpu(1)).toThrow(/closed/);
    machine.vm.kick(machine.vcpu.kickToken);
  });

  test("tokens of closed VMs and of other hypervisors are refused", () => {
    const vm = hypervisor.createVm();
    const { token } = vm;
    vm.close();
    expect(() => hypervisor.attachVm(token)).toThrow();
    using other = hypervisor.createVm();
    expect(() => hypervisor.attachVm({ ...other.token, hypervisor: "other" })).toThrow(/token/);
    expect(() => other.kick({ hypervisor: "other" })).toThrow(/token/);
  });

  test("a second vCPU with the same index is refused", () => {
    using machine = suite.machine({ code: [0xf4] });
    expect(() => machine.vm.createVcpu(0)).toThrow();
  });
}
