import { expect, test } from "vitest";
import { ExitReason } from "../exit.js";
import type { Machine } from "./machine.js";
import type { Suite } from "./suite.js";

const IRQ = 5;
const VECTOR = 0x20 + IRQ;
const HANDLER = 0x1100;
const READY_PORT = 0x80;
const HANDLER_PORT = 0x81;

/** Sets up the primary PIC, unmasks IRQ 5, says so, then halts for ever with interrupts on. */
const waitForInterrupts = [
  ...[0xfa], //        cli
  ...[0xb0, 0x11], //  mov al, 0x11     ICW1: edge-triggered, cascaded, ICW4 follows
  ...[0xe6, 0x20], //  out 0x20, al
  ...[0xb0, 0x20], //  mov al, 0x20     ICW2: IRQ 0 is vector 0x20
  ...[0xe6, 0x21], //  out 0x21, al
  ...[0xb0, 0x04], //  mov al, 4        ICW3: the secondary PIC is on IRQ 2
  ...[0xe6, 0x21], //  out 0x21, al
  ...[0xb0, 0x01], //  mov al, 1        ICW4: 8086 mode
  ...[0xe6, 0x21], //  out 0x21, al
  ...[0xb0, 0xdf], //  mov al, ~(1 << 5)
  ...[0xe6, 0x21], //  out 0x21, al
  ...[0xe6, 0x80], //  out 0x80, al
  ...[0xfb], //        sti
  ...[0xf4], //        hlt
  ...[0xeb, 0xfd], //  jmp to the hlt
];

const handler = [
  ...[0xe6, 0x81], //  out 0x81, al
  ...[0xb0, 0x20], //  mov al, 0x20     end of interrupt
  ...[0xe6, 0x20], //  out 0x20, al
  ...[0xcf], //        iret
];

function startWaiting(suite: Suite): Machine {
  const machine = suite.machine({ code: waitForInterrupts, interruptController: true });
  machine.memory.set(handler, HANDLER);
  // The real-mode vector table: offset, segment.
  machine.memory.set([HANDLER & 0xff, HANDLER >> 8, 0, 0], VECTOR * 4);
  expect(machine.runTo(ExitReason.IO).port).toBe(READY_PORT);
  return machine;
}

/** The in-kernel interrupt controller, driven by line and by eventfd. */
export function testInterrupts(suite: Suite): void {
  test("raising an interrupt line runs the guest's handler, once an edge", () => {
    using machine = startWaiting(suite);
    for (let n = 0; n < 2; n++) {
      machine.vm.setInterruptLine(IRQ, true);
      expect(machine.runTo(ExitReason.IO).port).toBe(HANDLER_PORT);
      machine.vm.setInterruptLine(IRQ, false);
    }
  });

  test("signalling a bound eventfd runs the guest's handler", (context) => {
    using machine = startWaiting(suite);
    if (!machine.vm.capabilities.irqfd) context.skip("no irqfd here");
    using event = suite.createEvent();
    using _binding = machine.vm.bindInterrupt(IRQ, event.fd);
    for (let n = 0; n < 2; n++) {
      event.signal();
      expect(machine.runTo(ExitReason.IO).port).toBe(HANDLER_PORT);
    }
  });

  test("an unbound eventfd interrupts no more, and the line can be bound again", (context) => {
    using machine = startWaiting(suite);
    if (!machine.vm.capabilities.irqfd) context.skip("no irqfd here");
    using event = suite.createEvent();
    machine.vm.bindInterrupt(IRQ, event.fd)[Symbol.dispose]();
    event.signal();
    machine.vm.kick(machine.vcpu.kickToken);
    expect(machine.vcpu.run()).toBe(ExitReason.INTERRUPTED);
    // Without the binding nobody takes the signal.
    expect(event.drain()).toBe(true);
    using _binding = machine.vm.bindInterrupt(IRQ, event.fd);
    event.signal();
    expect(machine.runTo(ExitReason.IO).port).toBe(HANDLER_PORT);
  });

  test("the state of the interrupt controller can be saved and restored", () => {
    using machine = startWaiting(suite);
    const state = machine.vm.x86?.getInterruptControllerState();
    if (state === undefined) throw new Error("no x86 VM");
    using restored = suite.machine({ code: waitForInterrupts, interruptController: true });
    restored.vm.x86?.setInterruptControllerState(state);
    expect(restored.vm.x86?.getInterruptControllerState().primaryPic).toEqual(state.primaryPic);

    // The restored PIC needs no set-up: the guest halts at once and the vector base is known.
    restored.memory.set(handler, HANDLER);
    restored.memory.set([HANDLER & 0xff, HANDLER >> 8, 0, 0], VECTOR * 4);
    restored.jump(0x1000 + waitForInterrupts.length - 4);
    restored.vm.setInterruptLine(IRQ, true);
    expect(restored.runTo(ExitReason.IO).port).toBe(HANDLER_PORT);
  });

  test("an interrupt controller after the first vCPU is refused", () => {
    using machine = suite.machine({ code: [0xf4] });
    expect(() => machine.vm.createInterruptController()).toThrow();
  });
}
