import { ExitReason } from "@supermachine/hypervisor";
import { expect, test } from "vitest";
import { VcpuCounters } from "./vcpu-counters.js";

test("each vCPU counts its own exits, and names those that happened", () => {
  const shared = new SharedArrayBuffer(VcpuCounters.byteLength(2));
  const [first, second] = [new VcpuCounters(shared, 0), new VcpuCounters(shared, 1)];
  second.threadId = 77;
  second.count(ExitReason.MMIO);
  second.count(ExitReason.MMIO);
  second.count(ExitReason.MEMORY_FAULT);
  const seen = new VcpuCounters(shared, 1);
  expect(seen.threadId).toBe(77);
  expect(seen.exits()).toEqual({ mmio: 2, memory_fault: 1 });
  expect([first.threadId, first.exits()]).toEqual([0, {}]);
});
