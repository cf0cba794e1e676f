import type { MachineMetrics } from "../machine/metrics.js";
import type { LatencyMetrics } from "./latency-histogram.js";
import { type Labels, PrometheusText } from "./prometheus-text.js";

/** What a VM uses and does: totals since its start. */
export interface VmMetrics extends MachineMetrics {
  readonly name: string;
  readonly image: string;
  readonly hypervisor: string;
  /** From `exec` or `spawn` to the end of the command, of those that this process ran. */
  readonly exec: LatencyMetrics;
}

/**
 * The metrics of VMs as text for Prometheus, format 0.0.4: serve it as
 * `text/plain; version=0.0.4; charset=utf-8`. Every metric starts with `supermachine_`; the label `vm` is
 * the VM's name.
 */
export function toPrometheus(metrics: readonly VmMetrics[]): string {
  const text = new PrometheusText();
  for (const vm of metrics) {
    const labels = { vm: vm.name };
    const { name, image, hypervisor } = vm;
    text.gauge("supermachine_info", "A VM.", { vm: name, image, hypervisor }, 1);
    text.gauge("supermachine_uptime_seconds", "Time since its start.", labels, vm.uptimeSeconds);
    addProcessors(text, labels, vm);
    addMemory(text, labels, vm);
    addDevices(text, labels, vm);
    const { exec } = vm;
    if (exec.count === 0) continue;
    text.histogram(
      "supermachine_exec_duration_seconds",
      "Time from the start of a command to its end.",
      labels,
      exec.buckets.map(({ upToSeconds, count }) => ({ upTo: upToSeconds, count })),
      exec.totalSeconds,
    );
  }
  return String(text);
}

function addProcessors(text: PrometheusText, vm: Labels, metrics: VmMetrics): void {
  metrics.vcpus.forEach(({ cpuSeconds, waitSeconds, exits }, vcpu) => {
    const labels = { ...vm, vcpu };
    if (cpuSeconds !== undefined && waitSeconds !== undefined) {
      const used = "Processor time of a vCPU, in the guest and outside.";
      text.counter("supermachine_vcpu_cpu_seconds_total", used, labels, cpuSeconds);
      const waited = "Time that a vCPU waited for a processor of the host.";
      text.counter("supermachine_vcpu_wait_seconds_total", waited, labels, waitSeconds);
    }
    for (const [reason, count] of Object.entries(exits)) {
      const help = "Returns from the guest, by reason.";
      text.counter("supermachine_vcpu_exits_total", help, { ...labels, reason }, count);
    }
  });
  if (metrics.deviceThread !== undefined) {
    const help = "Processor time of the thread that serves the devices.";
    const { cpuSeconds } = metrics.deviceThread;
    text.counter("supermachine_device_thread_cpu_seconds_total", help, vm, cpuSeconds);
  }
  const { cpuSeconds, residentBytes } = metrics.process;
  const used = "Processor time of the process that runs the machine.";
  text.counter("supermachine_process_cpu_seconds_total", used, vm, cpuSeconds);
  const resident = "Memory of the process that runs the machine, that of the guest included.";
  text.gauge("supermachine_process_resident_bytes", resident, vm, residentBytes);
}

function addMemory(text: PrometheusText, vm: Labels, { memory }: VmMetrics): void {
  const gauge = (name: string, help: string, bytes: number | undefined) => {
    if (bytes !== undefined) text.gauge(`supermachine_memory_${name}`, help, vm, bytes);
  };
  gauge("size_bytes", "Memory of the guest.", memory.sizeBytes);
  gauge("resident_bytes", "Host memory behind the guest's.", memory.residentBytes);
  gauge("private_bytes", "Host memory that no other guest shares.", memory.privateBytes);
  gauge("swapped_bytes", "Guest memory swapped out by the host.", memory.swappedBytes);
  gauge("balloon_bytes", "Memory that the guest leaves to the host.", memory.balloon?.actualBytes);
  gauge("balloon_target_bytes", "Memory that it is to leave.", memory.balloon?.targetBytes);
  gauge("guest_free_bytes", "Memory in use for nothing, says the guest.", memory.guest?.freeBytes);
  gauge("guest_available_bytes", "Memory it could use, it says.", memory.guest?.availableBytes);
}

function addDevices(text: PrometheusText, vm: Labels, { devices }: VmMetrics): void {
  devices.forEach(({ type, queues, interrupts, totals }, device) => {
    const labels = { ...vm, device, type };
    text.counter("supermachine_device_interrupts_total", "Interrupts raised.", labels, interrupts);
    queues.forEach(({ requests, doorbells, bytesFromGuest, bytesToGuest }, queue) => {
      const counter = (name: string, help: string, value: number) =>
        text.counter(`supermachine_queue_${name}_total`, help, { ...labels, queue }, value);
      counter("requests", "Requests served.", requests);
      counter("doorbells", "Calls of the guest for its device.", doorbells);
      counter("received_bytes", "Bytes of requests from the guest.", bytesFromGuest);
      counter("sent_bytes", "Bytes written for the guest.", bytesToGuest);
    });
    for (const [total, value] of Object.entries(totals)) {
      const help = "What else a device counts.";
      text.counter("supermachine_device_total", help, { ...labels, total }, value);
    }
  });
}
