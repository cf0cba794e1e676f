import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ExitReason } from "../exit.js";
import { CODE, type Machine } from "./machine.js";
import type { Suite } from "./suite.js";

const PAGE = 4096;
const VECTOR = 0x40;
const HANDLER = 0x1100;
const HANDLER_PORT = 0x81;
const READY_PORT = 0x80;
const COUNTER_PORT = 0x10;

// counts in eax and tells each number: inc eax; out 0x10, eax; jmp back
const count = [0x66, 0x40, 0x66, 0xe7, COUNTER_PORT, 0xeb, 0xfa];

/** mov ecx, msr; mov eax, value; xor edx, edx; wrmsr, in real mode. */
function writeMsr(index: number, value: number): number[] {
  const word = (number: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(number);
    return [...bytes];
  };
  return [0x66, 0xb9, ...word(index), 0x66, 0xb8, ...word(value), 0x66, 0x31, 0xd2, 0x0f, 0x30];
}

const X2APIC_EOI = 0x80b;
const X2APIC_SPURIOUS = 0x80f;
const X2APIC_TIMER = 0x832;
const X2APIC_INITIAL_COUNT = 0x838;
const X2APIC_DIVIDE = 0x83e;
const CR4_OSFXSR = 0x200n;
const PERIODIC = 1 << 17;

/** Starts the local APIC's timer, masks nothing, says so, then halts for ever with interrupts on. */
const waitForTimer = [
  0xfa, // cli
  ...writeMsr(X2APIC_SPURIOUS, 0x1ff),
  ...writeMsr(X2APIC_DIVIDE, 0xb),
  ...writeMsr(X2APIC_TIMER, PERIODIC | VECTOR),
  ...writeMsr(X2APIC_INITIAL_COUNT, 5_000_000),
  ...[0xe6, READY_PORT, 0xfb, 0xf4, 0xeb, 0xfd], // out; sti; hlt; jmp to the hlt
];
const timerHandler = [0xe6, HANDLER_PORT, ...writeMsr(X2APIC_EOI, 0), 0xcf];

/** Lets the vCPU's last exit finish, so that its registers are those between two instructions. */
function complete({ vcpu }: Machine): void {
  while (vcpu.completeExit() !== ExitReason.INTERRUPTED);
}

/** Copies everything of a machine into a new one of the same kind. */
function transplant(from: Machine, to: Machine): void {
  complete(from);
  const vcpu = from.vcpu.saveState();
  const vm = from.vm.saveState();
  to.memory.set(from.memory);
  to.vcpu.restoreState(vcpu);
  to.vm.restoreState(vm);
}

/** Whether a machine goes on elsewhere as if nothing had happened. */
export function testSnapshots(suite: Suite): void {
  test("a vCPU in the middle of a loop goes on in another VM where it was", () => {
    using machine = suite.machine({ code: count, interruptController: true });
    const told: number[] = [];
    for (let n = 0; n < 5; n++) told.push(machine.runTo(ExitReason.IO).value);
    using restored = suite.machine({ code: [0xf4], interruptController: true });
    transplant(machine, restored);
    for (const next of [machine, restored]) {
      expect(next.runTo(ExitReason.IO).value).toBe((told.at(-1) ?? 0) + 1);
      expect(next.runTo(ExitReason.IO).value).toBe((told.at(-1) ?? 0) + 2);
    }
  });

  test("a vCPU that has run on goes back to where it was, again and again", () => {
    using machine = suite.machine({ code: count, interruptController: true });
    const told = machine.runTo(ExitReason.IO).value;
    complete(machine);
    const saved = { vcpu: machine.vcpu.saveState(), vm: machine.vm.saveState() };
    using other = suite.machine({ code: count, interruptController: true });
    for (let round = 0; round < 3; round++) {
      other.vcpu.restoreState(saved.vcpu);
      other.vm.restoreState(saved.vm);
      for (let n = 1; n < 5; n++) expect(other.runTo(ExitReason.IO).value).toBe(told + n);
      complete(other);
      // What its guest could have left there for the next.
      other.x86.setMsrs([{ index: 0xc000_0102, value: 0x7fff_1234_0000n }]);
      other.x86.setDebugRegisters({ ...other.x86.getDebugRegisters(), db: [1n, 2n, 3n, 4n] });
    }
    other.vcpu.restoreState(saved.vcpu);
    expect(other.x86.getRegisters()).toEqual(machine.x86.getRegisters());
    expect(other.x86.getMsrs([0xc000_0102])).toEqual(machine.x86.getMsrs([0xc000_0102]));
    expect(other.x86.getDebugRegisters()).toEqual(machine.x86.getDebugRegisters());
  });

  test("registers, CPUID and MSRs are the same after a restore", () => {
    // movups xmm0, [0x2000]; out 0x10, eax
    const code = [0x0f, 0x10, 0x04, 0x25, 0x00, 0x20, 0x00, 0x00, 0xe7, COUNTER_PORT];
    using machine = suite.machine({ code, interruptController: true, mode: "long" });
    const { x86 } = machine;
    const special = x86.getSpecialRegisters();
    x86.setSpecialRegisters({ ...special, cr4: special.cr4 | CR4_OSFXSR });
    x86.setMsrs([{ index: 0xc000_0102, value: 0x7fff_1234_0000n }]);
    x86.setDebugRegisters({ ...x86.getDebugRegisters(), db: [1n, 2n, 3n, 4n] });
    machine.memory.set([0x12, 0x34, 0x56, 0x78], 0x2000);
    machine.runTo(ExitReason.IO);
    using restored = suite.machine({ code: [0xf4], interruptController: true });
    transplant(machine, restored);
    expect(restored.x86.getRegisters()).toEqual(x86.getRegisters());
    expect(restored.x86.getSpecialRegisters()).toEqual(x86.getSpecialRegisters());
    expect([...restored.x86.getFpu().xmm.subarray(0, 4)]).toEqual([0x12, 0x34, 0x56, 0x78]);
    expect(restored.x86.getDebugRegisters()).toEqual(x86.getDebugRegisters());
    expect(restored.x86.getCpuid()).toEqual(x86.getCpuid());
    expect(restored.x86.getMsrs([0xc000_0102])).toEqual(x86.getMsrs([0xc000_0102]));
    expect(restored.x86.getMpState()).toBe(x86.getMpState());
  });

  test("a timer of the local APIC that runs goes on running", () => {
    using machine = suite.machine({ code: waitForTimer, interruptController: true });
    machine.memory.set(timerHandler, HANDLER);
    machine.memory.set([HANDLER & 0xff, HANDLER >> 8, 0, 0], VECTOR * 4);
    const special = machine.x86.getSpecialRegisters();
    machine.x86.setSpecialRegisters({ ...special, apicBase: special.apicBase | 0xc00n });
    expect(machine.runTo(ExitReason.IO).port).toBe(READY_PORT);
    using restored = suite.machine({ code: [0xf4], interruptController: true });
    transplant(machine, restored);
    for (let n = 0; n < 2; n++) expect(restored.runTo(ExitReason.IO).port).toBe(HANDLER_PORT);
  });

  test("the clock goes on from where it was saved", () => {
    using machine = suite.machine({ code: [0xf4], interruptController: true });
    const anHour = 3_600_000_000_000n;
    machine.vm.x86?.setClock(anHour);
    const state = machine.vm.saveState();
    using restored = suite.machine({ code: [0xf4], interruptController: true });
    restored.vm.restoreState(state);
    const clock = restored.vm.x86?.getClock() ?? 0n;
    expect(clock).toBeGreaterThanOrEqual(anHour);
    expect(clock).toBeLessThan(anHour + 60_000_000_000n);
  });

  test("state that is cut short, prolonged or empty is refused", () => {
    using machine = suite.machine({ code: count, interruptController: true });
    machine.runTo(ExitReason.IO);
    complete(machine);
    for (const part of [machine.vcpu, machine.vm]) {
      const state = part.saveState();
      using other = suite.machine({ code: [0xf4], interruptController: true });
      const target = part === machine.vcpu ? other.vcpu : other.vm;
      for (const length of [0, 1, 7, state.length >> 1, state.length - 1]) {
        expect(() => target.restoreState(state.subarray(0, length))).toThrow();
      }
      expect(() => target.restoreState(Buffer.concat([state, Buffer.alloc(8)]))).toThrow();
      expect(() => target.restoreState(Buffer.concat([state, state]))).toThrow();
    }
  });

  test("memory shows parts of files, and what the guest writes stays its own", () => {
    const directory = mkdtempSync(join(tmpdir(), "contents-"));
    try {
      const path = join(directory, "file");
      writeFileSync(path, Buffer.concat([Buffer.alloc(PAGE, 0x11), Buffer.alloc(PAGE, 0x22)]));
      const fd = openSync(path, "r");
      const make = () =>
        suite.hypervisor.allocateMemory(4 * PAGE, [
          { fd, fileOffset: 0, memoryOffset: 0, length: 2 * PAGE },
          { fd, fileOffset: 0, memoryOffset: PAGE, length: PAGE },
          { fd, fileOffset: PAGE, memoryOffset: 3 * PAGE, length: PAGE },
        ]);
      using first = make();
      using second = make();
      closeSync(fd);
      const pages = (memory: { view(): ArrayBuffer }) =>
        Array.from({ length: 4 }, (_, n) => new Uint8Array(memory.view())[n * PAGE]);
      expect(pages(first)).toEqual([0x11, 0x11, 0, 0x22]);

      // mov ax, 0x2000; mov ds, ax; mov byte [0], 0x77; hlt: ds:0 is 0x2_0000
      using machine = suite.machine({
        code: [0xb8, 0x00, 0x20, 0x8e, 0xd8, 0xc6, 0x06, 0x00, 0x00, 0x77, 0xf4],
      });
      const slot = { slot: 1, guestAddress: 0x2_0000, size: first.length };
      machine.vm.mapMemory({ ...slot, hostAddress: first.address });
      machine.jump(CODE);
      expect(machine.runToHalt()).toEqual([]);
      machine.vm.unmapMemory(1);
      expect(pages(first)).toEqual([0x77, 0x11, 0, 0x22]);
      expect(pages(second)).toEqual([0x11, 0x11, 0, 0x22]);
      expect(readFileSync(path)[0]).toBe(0x11);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
}
