import { execFileSync } from "node:child_process";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kvm } from "@supermachine/kvm";
import { RngDevice } from "@supermachine/virtio";
import { lazyFunction } from "@supermachine-internal/libc";
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

type ResourceLimit = (resource: number, limit: BigUint64Array) => number;
const getrlimit = lazyFunction<ResourceLimit>("int getrlimit(int resource, void *limit)");
const setrlimit = lazyFunction<ResourceLimit>("int setrlimit(int resource, const void *limit)");
const RLIMIT_NOFILE = 7;
const RLIMIT_AS = 9;

/** Sets a soft limit of this process while `work` is done. */
async function limited(resource: number, value: number, work: () => Promise<void>): Promise<void> {
  const limit = new BigUint64Array(2);
  expect(getrlimit(resource, limit)).toBe(0);
  expect(setrlimit(resource, BigUint64Array.of(BigInt(value), limit[1] ?? 0n))).toBe(0);
  try {
    await work();
  } finally {
    setrlimit(resource, limit);
  }
}

requireFacility("kvm", "x86-64").describe("snapshots of a machine on KVM", () => {
  const { test } = requireFacility("kvm");

  test("a paused machine does nothing until it is resumed", async () => {
    const counter = new Counter();
    await using machine = start({ onConsole: counter.onConsole });
    await counter.more();
    await machine.pause();
    // What it printed before is still on its way from the vCPU's thread.
    await new Promise((resolve) => setTimeout(resolve, 200));
    const paused = counter.numbers.length;
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(counter.numbers.length).toBe(paused);
    await machine.pause();
    await machine.resume();
    await counter.more();
    await machine.resume();
  });

  test("a machine that was let run a moment ago waits when it is paused again", async () => {
    await using machine = start({ cpus: 3 });
    for (let round = 0; round < 10; round++) {
      await machine.pause();
      await machine.resume();
      await machine.pause();
      const name = newName();
      // Asks all vCPUs for their states, which they give only where they wait.
      await machine.save(name);
      rmSync(name, { recursive: true });
      await machine.resume();
    }
  });

  test("saves and pauses at the same time do not let each other's machine run", async () => {
    const counter = new Counter();
    await using machine = start({ onConsole: counter.onConsole });
    await counter.more();
    const [first, second] = [newName(), newName()];
    const saves = [machine.save(first), machine.save(second)];
    const paused = machine.pause();
    await Promise.all([...saves, paused]);
    for (const name of [first, second]) Snapshot.open(name).close();
    expect(machine.paused).toBe(true);
    const before = counter.numbers.length;
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(counter.numbers.length).toBe(before);
    const third = machine.save(newName());
    await machine.resume();
    await third;
    expect(machine.paused).toBe(false);
    await counter.more();
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

  test("a snapshot on a base has only what differs, and does not need the base any more", async () => {
    const counter = new Counter();
    await using machine = start({ onConsole: counter.onConsole });
    await counter.more();
    const [first, second, third] = [newName(), newName(), newName()];
    await machine.save(first);
    await counter.more();
    await machine.pause();
    await machine.save(second, { base: first });
    const last = counter.numbers.at(-1) ?? 0;
    await machine.stop();
    rmSync(first, { recursive: true });

    using snapshot = Snapshot.open(second);
    expect(snapshot.state.layers.map(({ file }) => file)).toEqual(["base-0", "memory"]);
    const bytes = (n: number) =>
      (snapshot.state.layers[n]?.extents ?? []).reduce((sum, { length }) => sum + length, 0);
    expect(bytes(1)).toBeLessThanOrEqual(bytes(0));
    expect(bytes(1)).toBeLessThan(256 << 10);
    const next = new Counter();
    await using restored = await restore(snapshot, { onConsole: next.onConsole });
    await next.more();
    expect(next.numbers[0]).toBe((last + 1) & 0xff);
    // Of a machine that goes on from it: what it has not written it maps from there.
    await restored.save(third, { base: second });
    using chained = Snapshot.open(third);
    expect(chained.state.layers).toHaveLength(3);
    chained.verifyMemory();
  });

  test("memory with a byte changed, cut short or of another snapshot is refused", async () => {
    await using machine = start();
    const [name, other] = [newName(), newName()];
    await machine.save(name);
    await machine.save(other);
    const memory = join(name, "memory");
    const whole = readFileSync(memory);
    const [extent] = Snapshot.open(name).state.layers[0]?.extents ?? [];
    const damage: ((bytes: Buffer) => Buffer)[] = [
      (bytes) => {
        const at = (extent?.offset ?? 0) + 5;
        bytes[at] = (bytes[at] ?? 0) ^ 1;
        return bytes;
      },
      (bytes) => bytes.subarray(0, bytes.length - 1),
      (bytes) => bytes.subarray(0, 4096),
      () => Buffer.alloc(0),
      () => readFileSync(join(other, "memory")),
    ];
    for (const change of damage) {
      writeFileSync(memory, change(Buffer.from(whole)));
      const attempt = async () => {
        using snapshot = Snapshot.open(name);
        await restore(snapshot);
      };
      await expect(attempt()).rejects.toMatchObject({ code: "ERR_VMM_SNAPSHOT_CORRUPT" });
    }
    rmSync(memory);
    expect(() => Snapshot.open(name)).toThrow(/cannot be opened/);
  });

  test("a machine with other devices is refused, and nothing of it is left", async () => {
    await using machine = start({ devices: [new RngDevice()] });
    const name = newName();
    await machine.save(name);
    using snapshot = Snapshot.open(name);
    const devices = [new RngDevice(), new RngDevice()];
    await expect(restore(snapshot, { devices })).rejects.toMatchObject({
      code: "ERR_VMM_SNAPSHOT_DEVICES",
    });
    await expect(restore(snapshot)).rejects.toThrow("virtio devices of types 4");
  });

  test("a snapshot that cannot be written leaves nothing behind, and the machine runs on", async () => {
    const counter = new Counter();
    await using machine = start({ onConsole: counter.onConsole });
    await counter.more();
    const taken = newName();
    await machine.save(taken);
    const before = readdirSync(directory).sort();
    const refused = [
      machine.save(taken),
      machine.save(join(directory, "no", "such", "directory")),
      machine.save(newName(), { base: directory }),
    ];
    const codes = (await Promise.allSettled(refused)).map((result) =>
      result.status === "rejected" ? result.reason.code : "none",
    );
    expect(codes).toEqual([
      "ERR_VMM_SNAPSHOT_WRITE",
      "ERR_VMM_SNAPSHOT_WRITE",
      "ERR_VMM_SNAPSHOT_BASE",
    ]);
    expect(readdirSync(directory).sort()).toEqual(before);
    await counter.more();
  });

  requireFacility("root").test("a full disk is told as such, and is as it was", async () => {
    const mountPoint = mkdtempSync(join(tmpdir(), "full-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", mountPoint]);
    try {
      await using machine = start();
      const saving = machine.save(join(mountPoint, "snapshot"));
      await expect(saving).rejects.toMatchObject({ code: "ERR_VMM_SNAPSHOT_SPACE" });
      expect(readdirSync(mountPoint)).toEqual([]);
    } finally {
      execFileSync("umount", [mountPoint]);
      rmSync(mountPoint, { recursive: true });
    }
  });

  test("a host without descriptors or memory is told as such, and the machine runs on", async () => {
    const counter = new Counter();
    await using machine = start({ onConsole: counter.onConsole });
    await counter.more();
    const base = newName();
    await machine.save(base);
    const before = readdirSync(directory).sort();
    const outcomes: string[] = [];
    for (let spare = 0; !outcomes.includes("saved"); spare++) {
      const name = newName();
      // The next descriptor gets the lowest free number.
      const next = openSync(base, "r");
      closeSync(next);
      await limited(RLIMIT_NOFILE, next + spare, async () => {
        outcomes.push(
          await machine.save(name).then(
            () => "saved",
            ({ code, message }) => `${code}: ${/EMFILE/.exec(message)?.[0]}`,
          ),
        );
      });
      rmSync(name, { recursive: true, force: true });
    }
    const refusals = outcomes.slice(0, -1);
    expect(refusals.length).toBeGreaterThan(0);
    expect(new Set(refusals)).toEqual(new Set(["ERR_VMM_SNAPSHOT_WRITE: EMFILE"]));
    const status = readFileSync("/proc/self/status", "latin1");
    const kilobytes = Number(/^VmSize:\s+(\d+) kB$/m.exec(status)?.[1]);
    // Less than the base takes, which is mapped to be compared with.
    await limited(RLIMIT_AS, (kilobytes + 8192) * 1024, async () => {
      const refused = machine.save(newName(), { base });
      await expect(refused).rejects.toMatchObject({ code: "ERR_VMM_SNAPSHOT_BASE" });
    });
    expect(readdirSync(directory).sort()).toEqual(before);
    await counter.more();
    await machine.save(newName(), { base });
  });

  test("a machine that has ended can be neither paused nor saved", async () => {
    const machine = start();
    await machine.stop();
    await expect(machine.pause()).rejects.toMatchObject({ code: "ERR_VMM_ENDED" });
    await expect(machine.save(newName())).rejects.toMatchObject({ code: "ERR_VMM_ENDED" });
  });

  test("nothing stays open after saves and restores, good and bad", async () => {
    const openFds = () => readdirSync("/proc/self/fd").length;
    const round = async () => {
      const name = newName();
      await using machine = start();
      await machine.save(name);
      await machine.save(newName(), { base: name });
      await machine.stop();
      using snapshot = Snapshot.open(name);
      await (await restore(snapshot)).stop();
      await restore(snapshot, { devices: [new RngDevice()] }).catch(() => {});
    };
    await round();
    const before = openFds();
    for (let n = 0; n < 3; n++) await round();
    // Threads of machines that could not start are still on their way out.
    await vi.waitFor(() => expect(openFds()).toBeLessThanOrEqual(before), 5000);
  });
});
