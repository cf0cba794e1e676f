import { ExitReason } from "@supermachine/hypervisor";
import { expect, test } from "vitest";
import { VcpuCounters } from "./vcpu-counters.js";

test("each vCPU counts its own exits, and names those that happened", () => {
  const shared = new SharedArrayBuffer(VcpuCounters.byteLength(2));
  const [first, second] = [new VcpuCounters(shared, 0), new VcpuCounters(shared, 1)];
  second.begin(77, undefined);
  second.count(ExitReason.MMIO);
  second.count(ExitReason.MMIO);
  second.count(ExitReason.MEMORY_FAULT);
  const seen = new VcpuCounters(shared, 1);
  expect(seen.threadId).toBe(77);
  expect(seen.exits()).toEqual({ mmio: 2, memory_fault: 1 });
  expect([first.threadId, first.exits()]).toEqual([0, {}]);
});

test("of a thread's time only that since it took the vCPU is the vCPU's", () => {
  const shared = new SharedArrayBuffer(VcpuCounters.byteLength(2));
  new VcpuCounters(shared, 1).begin(77, { cpuSeconds: 4, waitSeconds: 1 });
  const counters = new VcpuCounters(shared, 1);
  expect(counters.threadId).toBe(77);
  expect(counters.own({ cpuSeconds: 6, waitSeconds: 1.5 })).toEqual({
    cpuSeconds: 2,
    waitSeconds: 0.5,
  });
});
