import { expect, test } from "vitest";
import { vcpuCpuid } from "./cpuid.js";

const leaf = (fn: number, index = 0) => ({
  function: fn,
  index,
  flags: 0,
  eax: 0,
  ebx: 0x0000_0800,
  ecx: 0,
  edx: 0,
});

test("each vCPU sees its own APIC id and the hypervisor bit", () => {
  const [features] = vcpuCpuid([leaf(1)], 3, 4);
  expect(features?.ebx).toBe(0x0304_0800);
  expect((features?.ecx ?? 0) >>> 31).toBe(1);
});

test("the topology leaves give one core a vCPU in one package", () => {
  const [threads, cores, end] = vcpuCpuid([leaf(0xb, 0), leaf(0xb, 1), leaf(0xb, 2)], 2, 5);
  expect(threads).toMatchObject({ eax: 0, ebx: 1, ecx: 0x100, edx: 2 });
  expect(cores).toMatchObject({ eax: 3, ebx: 5, ecx: 0x201, edx: 2 });
  expect(end).toMatchObject({ eax: 0, ebx: 0, ecx: 2 });
});
