import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kvm } from "@supermachine/kvm";
import { RngDevice } from "@supermachine/virtio";
import { requireFacility } from "@supermachine-internal/testing";
import { afterAll, beforeAll, expect, vi } from "vitest";
import { Machine, type MachineHost, Snapshot } from "../src/index.js";
import { GENERATION_ID_ADDRESS } from "../src/memory-map.js";
import { assemble, tinyKernel } from "./tiny-kernel.js";

/* Guests of a few instructions that go back to their snapshots, on the real /dev/kvm. */

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "revert-"));
  writeFileSync(join(directory, "kernel"), tinyKernel(assemble.count()));
});
afterAll(() => rmSync(directory, { recursive: true }));

const vcpuThread = new URL("./vcpu-thread.mjs", import.meta.url);
const MEMORY_MIB = 32;

/** Saves a machine that counts; it is stopped then. */
async function saved(name: string, cpus = 1): Promise<string> {
  const path = join(directory, name);
  const told = vi.fn();
  await using machine = Machine.start({
    hypervisor: new Kvm(),
    vcpuThread,
    memoryMiB: MEMORY_MIB,
    cpus,
    kernel: join(directory, "kernel"),
    commandLine: "",
    devices: [new RngDevice()],
    onConsole: told,
  });
  await vi.waitFor(() => expect(told).toHaveBeenCalled(), 9000);
  await machine.save(path);
  return path;
}

async function restored(path: string, options: Partial<MachineHost> = {}): Promise<Machine> {
  using snapshot = Snapshot.open(path);
  return Machine.restore({
    hypervisor: new Kvm(),
    vcpuThread,
    devices: [new RngDevice()],
    snapshot,
    ...options,
  });
}

/** The guest's memory as a snapshot has it, without the id that is another with each revert. */
function memoryOf(path: string): Buffer {
  const bytes = readFileSync(join(path, "memory")).subarray(0, MEMORY_MIB << 20);
  return bytes.fill(0, GENERATION_ID_ADDRESS, GENERATION_ID_ADDRESS + 16);
}

/** The sections of a vCPU's state by their tags; the MSRs by their numbers, without the time that goes on. */
function registersOf(state: Uint8Array): Map<string, string> {
  const bytes = Buffer.from(state);
  const found = new Map<string, string>();
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes.toString("latin1", at, at + 4);
    const start = at + 8;
    at = start + bytes.readUInt32LE(at + 4);
    if (tag !== "MSRS") found.set(tag, bytes.toString("hex", start, at));
    for (let msr = start + 8; tag === "MSRS" && msr < at; msr += 16) {
      const index = bytes.readUInt32LE(msr);
      if (index !== 0x10)
        found.set(`MSR ${index.toString(16)}`, bytes.toString("hex", msr, msr + 16));
    }
  }
  return found;
}

requireFacility("kvm", "x86-64").describe("a machine that goes back to its snapshot", () => {
  const { test } = requireFacility("kvm");

  for (const cpus of [1, 3]) {
    test(`is what it was, with ${cpus} vCPUs, also when the snapshot is gone`, async () => {
      const path = await saved(`state-${cpus}`, cpus);
      const before = memoryOf(path);
      using snapshot = Snapshot.open(path);
      const told: number[] = [];
      await using machine = await restored(path, { onConsole: (bytes) => told.push(...bytes) });
      rmSync(path, { recursive: true });
      for (let round = 0; round < 3; round++) {
        told.length = 0;
        await vi.waitFor(() => expect(told.length).toBeGreaterThan(3), 9000);
        const [first] = told;
        expect(first).toBe(((before[0x20_0000] ?? 0) + 1) & 0xff);
        await machine.revert();
        expect(machine.paused).toBe(true);
        expect(machine.consoleLines()).toEqual([]);
        const again = join(directory, `again-${cpus}-${round}`);
        await machine.save(again);
        expect(memoryOf(again).equals(before)).toBe(true);
        using now = Snapshot.open(again);
        expect(now.state.vcpus.map(registersOf)).toEqual(snapshot.state.vcpus.map(registersOf));
        expect(now.state.devices).toEqual(snapshot.state.devices);
        expect(now.state.serial).toEqual(snapshot.state.serial);
        await machine.resume();
      }
    });
  }

  test("goes back a hundred times without holding more for it", async () => {
    const path = await saved("many");
    let told = 0;
    await using machine = await restored(path, { onConsole: ({ length }) => (told += length) });
    const held = () => [
      readdirSync("/proc/self/fd").length,
      readdirSync("/proc/self/task").length,
      readFileSync("/proc/self/maps", "latin1").split("\n").length,
    ];
    await machine.revert();
    const [fds = 0, threads = 0, mappings = 0] = held();
    const start = performance.now();
    for (let n = 0; n < 100; n++) {
      await machine.resume();
      await machine.revert();
    }
    const each = (performance.now() - start) / 100;
    const [fdsAfter, threadsAfter, mappingsAfter] = held();
    expect(fdsAfter).toBe(fds);
    // Node.js has some of its own that come and go.
    expect(threadsAfter).toBeLessThan(threads + 5);
    expect(mappingsAfter).toBeLessThan(mappings + 20);
    process.stdout.write(`a machine of ${MEMORY_MIB} MiB went back in ${each.toFixed(2)} ms\n`);
    told = 0;
    await machine.resume();
    await vi.waitFor(() => expect(told).toBeGreaterThan(0), 9000);
  });

  test("a machine that booted, or has ended, has nothing to go back to", async () => {
    await using booted = Machine.start({
      hypervisor: new Kvm(),
      vcpuThread,
      memoryMiB: MEMORY_MIB,
      kernel: join(directory, "kernel"),
      commandLine: "",
    });
    await expect(booted.revert()).rejects.toMatchObject({ code: "ERR_VMM_SNAPSHOT_NONE" });
    expect(booted.paused).toBe(false);
    const machine = await restored(await saved("ended"));
    await machine.stop();
    await expect(machine.revert()).rejects.toMatchObject({ code: "ERR_VMM_ENDED" });
  });

  test("a machine that is resumed or saved while it goes back is back first", async () => {
    const path = await saved("meanwhile");
    await using machine = await restored(path);
    const reverting = machine.revert();
    await Promise.all([reverting, machine.save(join(directory, "after"))]);
    expect(memoryOf(join(directory, "after")).equals(memoryOf(path))).toBe(true);
    await machine.resume();
  });

  test("a device that does not let go of its driver ends the machine instead", async () => {
    const path = await saved("busy");
    const device = new (class extends RngDevice {
      override reset(): void {
        throw new Error("this device does not let go");
      }
      override close(): void {}
    })();
    const machine = await restored(path, { devices: [device] });
    await expect(machine.revert()).rejects.toMatchObject({ code: "ERR_VMM_HYPERVISOR" });
    const { reason, message } = await machine.exited;
    expect(reason).toBe("hypervisor-error");
    expect(message).toContain("cannot go back to its snapshot: this device does not let go");
  });
});
