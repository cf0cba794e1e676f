import { expect, test } from "vitest";
import { LatencyHistogram } from "./latency-histogram.js";
import { toPrometheus, type VmMetrics } from "./prometheus.js";

function metrics(name: string): VmMetrics {
  const exec = new LatencyHistogram();
  exec.record(0.02);
  const queue = { requests: 7, doorbells: 5, bytesFromGuest: 100, bytesToGuest: 200 };
  return {
    name,
    image: 'my "image"',
    hypervisor: "kvm",
    uptimeSeconds: 12.5,
    vcpus: [{ cpuSeconds: 1.5, waitSeconds: 0.25, exits: { mmio: 3, io: 4 } }, { exits: {} }],
    deviceThread: { cpuSeconds: 0.5, waitSeconds: 0 },
    memory: {
      sizeBytes: 2 ** 28,
      residentBytes: 2 ** 25,
      balloon: { targetBytes: 0, actualBytes: 4096 },
      guest: { freeBytes: 1000 },
    },
    devices: [{ type: "fs", queues: [queue], interrupts: 6, totals: { FUSE_READ: 2 } }],
    process: { cpuSeconds: 3, residentBytes: 2 ** 26 },
    exec: exec.read(),
  };
}

test("each sample names its VM, and what else tells it apart", () => {
  const lines = toPrometheus([metrics("a"), metrics("b")]).split("\n");
  for (const expected of [
    'supermachine_info{vm="b",image="my \\"image\\"",hypervisor="kvm"} 1',
    'supermachine_vcpu_cpu_seconds_total{vm="a",vcpu="0"} 1.5',
    'supermachine_vcpu_exits_total{vm="b",vcpu="0",reason="io"} 4',
    'supermachine_memory_resident_bytes{vm="a"} 33554432',
    'supermachine_memory_balloon_bytes{vm="a"} 4096',
    'supermachine_memory_guest_free_bytes{vm="b"} 1000',
    'supermachine_queue_sent_bytes_total{vm="a",device="0",type="fs",queue="0"} 200',
    'supermachine_device_total{vm="a",device="0",type="fs",total="FUSE_READ"} 2',
    'supermachine_exec_duration_seconds_bucket{vm="a",le="0.025"} 1',
  ]) {
    expect(lines).toContain(expected);
  }
});

test("what is not known is left out, and every metric is explained once", () => {
  const { vcpus: _, deviceThread: __, exec: ___, ...rest } = metrics("a");
  const text = toPrometheus([
    {
      ...rest,
      vcpus: [],
      devices: [],
      memory: { sizeBytes: 1 },
      exec: new LatencyHistogram().read(),
    },
    metrics("b"),
  ]);
  const aboutA = text.split("\n").filter((line) => line.includes('vm="a"'));
  expect(aboutA.map((line) => line.replace(/\{.*/, ""))).toEqual([
    "supermachine_info",
    "supermachine_uptime_seconds",
    "supermachine_process_cpu_seconds_total",
    "supermachine_process_resident_bytes",
    "supermachine_memory_size_bytes",
  ]);
  const types = text.split("\n").filter((line) => line.startsWith("# TYPE"));
  expect(new Set(types).size).toBe(types.length);
});

test("the names of counters end in _total, and those of nothing else do", () => {
  const types = toPrometheus([metrics("a")]).matchAll(/^# TYPE (\S+) (\S+)$/gm);
  for (const [, name = "", type] of types) {
    expect(name.endsWith("_total"), name).toBe(type === "counter");
  }
});
