import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kvm } from "@supermachine/kvm";
import { RngDevice } from "@supermachine/virtio";
import { requireFacility } from "@supermachine-internal/testing";
import { afterAll, beforeAll, expect, vi } from "vitest";
import { Machine, type MachineOptions, type RestoreOptions, Snapshot } from "../src/index.js";
import { assemble, tinyKernel } from "./tiny-kernel.js";

/* Guests of a few instructions, saved and restored on the real /dev/kvm. */

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "snapshot-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

const vcpuThread = new URL("./vcpu-thread.mjs", import.meta.url);

/** The numbers that {@link assemble.count} has printed. */
class Counter {
  readonly numbers: number[] = [];
  #previous = 10;
  readonly onConsole = (bytes: Uint8Array) => {
    for (const byte of bytes) {
      // The number 10 looks like a newline, but comes after one.
      if (byte !== 10 || this.#previous === 10) this.numbers.push(byte);
      this.#previous = byte === 10 && this.#previous === 10 ? 0 : byte;
    }
  };

  /** Waits until more have come. */
  async more(count = 3): Promise<void> {
    const before = this.numbers.length;
    await vi.waitFor(
      () => expect(this.numbers.length).toBeGreaterThanOrEqual(before + count),
      9000,
    );
  }
}

function start(options: Partial<MachineOptions> = {}): Machine {
  const kernel = join(directory, "kernel");
  writeFileSync(kernel, tinyKernel(assemble.count()));
  return Machine.start({
    hypervisor: new Kvm(),
    vcpuThread,
    memoryMiB: 32,
    kernel,
    commandLine: "",
    ...options,
  });
}

function restore(snapshot: Snapshot, options: Partial<RestoreOptions> = {}): Promise<Machine> {
  return Machine.restore({ hypervisor: new Kvm(), vcpuThread, snapshot, ...options });
}

let names = 0;
const newName = () => join(directory, `snapshot-${names++}`);

const openFds = () => readdirSync("/proc/self/fd").length;

requireFacility("kvm", "x86-64").describe("snapshots of a machine on KVM", () => {
  const { test } = requireFacility("kvm");

  test("a paused machine does nothing until it is resumed", async () => {
    const counter = new Counter();
    await using machine = start({ onConsole: counter.onConsole });
    await counter.more();
    await machine.pause();
    const paused = counter.numbers.length;
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(counter.numbers.length).toBe(paused);
    await machine.pause();
    await machine.resume();
    await counter.more();
    await machine.resume();
  });

  for (const cpus of [1, 3]) {
    test(`two machines of ${cpus} vCPUs go on from one snapshot, and so does the first`, async () => {
      const first = new Counter();
      await using machine = start({ onConsole: first.onConsole, cpus, devices: [new RngDevice()] });
      await first.more();
      await machine.pause();
      const last = first.numbers.at(-1) ?? 0;
      const name = newName();
      await machine.save(name, { metadata: "what I wanted to know" });
      await machine.resume();
      using snapshot = Snapshot.open(name);
      expect(snapshot).toMatchObject({ memoryMiB: 32, cpus, metadata: "what I wanted to know" });
      for (let n = 0; n < 2; n++) {
        const next = new Counter();
        await using restored = await restore(snapshot, {
          onConsole: next.onConsole,
          devices: [new RngDevice()],
        });
        await next.more();
        expect(next.numbers.slice(0, 3)).toEqual([1, 2, 3].map((n) => (last + n) & 0xff));
        expect((await restored.stop()).reason).toBe("stopped");
      }
      await first.more();
      // Little of the 32 MiB was ever touched.
      expect(statSync(join(name, "memory")).blocks * 512).toBeLessThan(1 << 20);
    });
  }
});
