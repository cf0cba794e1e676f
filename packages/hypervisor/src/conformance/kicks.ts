import { expect, test } from "vitest";
import { ExitReason } from "../exit.js";
import { CODE } from "./machine.js";
import type { Suite } from "./suite.js";

// jmp to itself
const spin = [0xeb, 0xfe];

/** Ending a run from elsewhere, and several threads on one VM. */
export function testKicks(suite: Suite): void {
  test("a kick from another thread ends a run that would never end", () => {
    using machine = suite.machine({ code: spin });
    const { token: vmToken } = machine.vm;
    const { kickToken } = machine.vcpu;
    suite.thread().send({ type: "kick", id: 0, vmToken, kickToken, after: 20 });
    expect(machine.vcpu.run()).toBe(ExitReason.INTERRUPTED);
  });

  test("a kick ends the run of a vCPU in another thread, which says where it was", async () => {
    using machine = suite.machine({ code: [0xf4] });
    machine.memory.set(spin, 0x1200);
    const thread = suite.thread();
    thread.send({ type: "run", vmToken: machine.vm.token, index: 1, rip: 0x1200 });
    const { kickToken } = await thread.next("entering");
    machine.vm.kick(kickToken);
    expect((await thread.next("exit")).reason).toBe(ExitReason.INTERRUPTED);
    // The vCPU is closed now: a late kick must do nothing.
    machine.vm.kick(kickToken);
  });

  test("a kick before the run ends it before its first instruction", () => {
    using machine = suite.machine({ code: [0xe6, 0x10, 0xf4] });
    machine.vm.kick(machine.vcpu.kickToken);
    expect(machine.vcpu.run()).toBe(ExitReason.INTERRUPTED);
    expect(machine.x86.getRegisters().rip).toBe(BigInt(CODE));
    expect(machine.runToHalt()).toHaveLength(1);
  });

  test("kicks that come together are reported once", () => {
    using machine = suite.machine({ code: [0xe6, 0x10, 0xf4] });
    for (let n = 0; n < 3; n++) machine.vm.kick(machine.vcpu.kickToken);
    expect(machine.vcpu.run()).toBe(ExitReason.INTERRUPTED);
    expect(machine.vcpu.run()).toBe(ExitReason.IO);
  });

  test("completing an exit stores what was answered but runs nothing further", () => {
    // in al, 0x10; out 0x11, al; hlt
    using machine = suite.machine({ code: [0xe4, 0x10, 0xe6, 0x11, 0xf4] });
    machine.runTo(ExitReason.IO).value = 0x77;
    expect(machine.vcpu.completeExit()).toBe(ExitReason.INTERRUPTED);
    const { rax, rip } = machine.x86.getRegisters();
    expect(rax & 0xffn).toBe(0x77n);
    expect(rip).toBe(BigInt(CODE + 2));
    expect(machine.runTo(ExitReason.IO).value).toBe(0x77);
  });

  test("a kick that comes before an exit is completed still ends the next run", () => {
    using machine = suite.machine({ code: [0xe4, 0x10, 0xe6, 0x11, 0xf4] });
    machine.runTo(ExitReason.IO);
    machine.vm.kick(machine.vcpu.kickToken);
    expect(machine.vcpu.completeExit()).toBe(ExitReason.INTERRUPTED);
    expect(machine.vcpu.run()).toBe(ExitReason.INTERRUPTED);
    expect(machine.runTo(ExitReason.IO).port).toBe(0x11);
  });

  test("two vCPUs in two threads run at the same time and share memory", async () => {
    using machine = suite.machine({
      code: [
        ...[0xc6, 0x06, 0x00, 0x20, 0x01], //  mov byte [0x2000], 1
        ...[0x80, 0x3e, 0x01, 0x20, 0x01], //  cmp byte [0x2001], 1
        ...[0x75, 0xf9], //                    jne to the cmp
        ...[0xf4], //                          hlt
      ],
    });
    const second = [
      ...[0x80, 0x3e, 0x00, 0x20, 0x01], //  cmp byte [0x2000], 1
      ...[0x75, 0xf9], //                    jne to the cmp
      ...[0xc6, 0x06, 0x01, 0x20, 0x01], //  mov byte [0x2001], 1
      ...[0xf4], //                          hlt
    ];
    machine.memory.set(second, 0x1200);
    const thread = suite.thread();
    thread.send({ type: "run", vmToken: machine.vm.token, index: 1, rip: 0x1200 });
    // Neither can halt before the other has run.
    machine.runTo(ExitReason.HLT);
    await thread.next("entering");
    expect((await thread.next("exit")).reason).toBe(ExitReason.HLT);
  });
}
