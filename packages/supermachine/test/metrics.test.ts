import { toPrometheus, Vm, type VmMetrics } from "supermachine";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hypervisor } from "./hypervisor.js";
import { demoStore } from "./images.js";

const MiB = 2 ** 20;
let stores: Awaited<ReturnType<typeof demoStore>>;
let vm: Vm;
beforeAll(async () => {
  stores = await demoStore();
  vm = await Vm.start({ image: "demo", store: stores.store, hypervisor, memoryMiB: 256 });
});
afterAll(async () => {
  await vm?.stop();
  await stores[Symbol.asyncDispose]();
});

/** The metrics, as soon as `condition` holds for them; fails when it does not within 30 s. */
async function metricsWhen(condition: (metrics: VmMetrics) => boolean): Promise<VmMetrics> {
  let metrics = await vm.metrics();
  for (const end = performance.now() + 30_000; !condition(metrics); ) {
    if (performance.now() > end) throw new Error(`still ${JSON.stringify(metrics.memory)}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
    metrics = await vm.metrics();
  }
  return metrics;
}

test("metrics tell who the machine is, what it used and how its commands went", async () => {
  await vm.exec(["true"]);
  const metrics = await vm.metrics({ guest: true });
  expect(metrics).toMatchObject({ name: vm.name, image: "demo", hypervisor });
  expect(metrics.exec.count).toBe(1);
  expect(metrics.exec.totalSeconds).toBeGreaterThan(0);
  expect(metrics.process.cpuSeconds).toBeGreaterThan(0);
  expect(metrics.process.residentBytes).toBeGreaterThan(metrics.memory.residentBytes ?? 0);
  expect(metrics.memory.sizeBytes).toBe(256 * MiB);
  if (hypervisor === "qemu") return;
  expect(metrics.vcpus).toHaveLength(1);
  expect(metrics.vcpus[0]?.exits["mmio"]).toBeGreaterThan(0);
  const vsock = metrics.devices.find(({ type }) => type === "vsock");
  expect(vsock?.queues.every(({ doorbells }) => doorbells > 0)).toBe(true);
  expect(metrics.memory.guest?.totalBytes).toBeGreaterThan(200 * MiB);
});

test("they are text for Prometheus on request", async () => {
  const text = toPrometheus([await vm.metrics()]);
  expect(text).toContain(`supermachine_memory_size_bytes{vm="${vm.name}"} ${256 * MiB}\n`);
  expect(text).toContain("# TYPE supermachine_exec_duration_seconds histogram\n");
  if (hypervisor === "qemu") return;
  expect(text).toMatch(/supermachine_vcpu_exits_total\{vm="[^"]+",vcpu="0",reason="mmio"\} \d+\n/);
});

test("memory that the guest frees goes back to the host", async () => {
  const before = (await vm.metrics()).memory.residentBytes ?? Number.NaN;
  await vm.exec(["dd", "if=/dev/zero", "of=/big", "bs=1M", "count=100"]);
  const full = (await vm.metrics()).memory.residentBytes ?? Number.NaN;
  expect(full).toBeGreaterThan(before + 60 * MiB);
  await vm.exec(["rm", "/big"]);
  await metricsWhen(({ memory }) => (memory.residentBytes ?? Number.NaN) < full - 60 * MiB);
});

test("the guest can be asked to use less memory, where it runs on KVM", async () => {
  if (hypervisor === "qemu") {
    await expect(vm.setMemoryTarget(128)).rejects.toMatchObject({ code: "ERR_VM_UNSUPPORTED" });
    return;
  }
  for (const wrong of [0, 15, 257, 20.5, Number.NaN]) {
    await expect(vm.setMemoryTarget(wrong)).rejects.toMatchObject({ code: "ERR_OPTION" });
  }
  await vm.setMemoryTarget(128);
  await metricsWhen(({ memory }) => memory.balloon?.actualBytes === 128 * MiB);
  await vm.setMemoryTarget(256);
  await metricsWhen(({ memory }) => memory.balloon?.actualBytes === 0);
});
