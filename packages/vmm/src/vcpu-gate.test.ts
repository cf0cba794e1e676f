import { expect, test } from "vitest";
import { VcpuGate, type VcpuState } from "./vcpu-gate.js";

const vcpu: VcpuState = { saveState: () => new Uint8Array([7]), restoreState: () => {} };

test("who was let go leaves, even when the gate is closed again before it looks", () => {
  const gate = VcpuGate.create(2, false);
  const parked: boolean[] = [];
  const onParked = () => {
    parked.push(gate.parkedCount === 1, gate.areAllParked);
    gate.open();
    expect(gate.parkedCount).toBe(0);
    gate.close();
    parked.push(gate.parkedCount > 0);
  };
  gate.wait(0, onParked, vcpu);
  gate.wait(1, onParked, vcpu);
  expect(parked).toEqual([true, false, false, true, false, false]);
});

test("nobody waits at an open gate, and none when the machine ends", () => {
  const gate = VcpuGate.create(1, true);
  const unexpected = () => expect.unreachable();
  gate.wait(0, unexpected, vcpu);
  gate.close();
  gate.wait(0, () => gate.stop(), vcpu);
  gate.wait(0, unexpected, vcpu);
  gate.open();
  expect([gate.isOpen, gate.stopping]).toEqual([false, true]);
});
