import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FileWindow } from "@supermachine/hypervisor";
import { Kvm } from "@supermachine/kvm";
import { FsDevice, RngDevice } from "@supermachine/virtio";
import { requireFacility } from "@supermachine-internal/testing";
import { afterAll, beforeAll, expect, vi } from "vitest";
import { MAX_CPUS, Machine, type MachineOptions, VcpuThreads } from "../src/index.js";
import { ACPI_ADDRESS, sharedMemoryAddresses, VIRTIO_MMIO_START } from "../src/memory-map.js";
import { assemble, tinyKernel } from "./tiny-kernel.js";

/*
 * Whole machines on the real /dev/kvm, with kernels of a few instructions: even a /dev/kvm that
 * interprets its guests runs these.
 */

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "vmm-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

function start(code: readonly number[], options: Partial<MachineOptions> = {}): Machine {
  const kernel = join(directory, "kernel");
  writeFileSync(kernel, tinyKernel(code));
  return Machine.start({
    hypervisor: new Kvm(),
    vcpuThread: new URL("./vcpu-thread.mjs", import.meta.url),
    memoryMiB: 32,
    kernel,
    commandLine: "",
    ...options,
  });
}

/** The machines of these tests have less than 4 GiB, and one window. */
const [WINDOW_ADDRESS = 0] = sharedMemoryAddresses(32, [2 << 20]);

const openFds = () => readdirSync("/proc/self/fd").length;

requireFacility("kvm", "x86-64").describe("a machine on KVM", () => {
  const { test } = requireFacility("kvm");

  test("prints on its console and shuts down by a reset", async () => {
    const printed: Buffer[] = [];
    await using machine = start([...assemble.print("hello\n"), ...assemble.reset()], {
      onConsole: (bytes) => printed.push(Buffer.from(bytes)),
    });
    const exit = await machine.exited;
    expect(exit.message).toBe("the guest shut down");
    expect(exit).toMatchObject({ reason: "shutdown", console: ["hello"] });
    expect(Buffer.concat(printed).toString()).toBe("hello\n");
  });

  test("as many vCPUs as there can be cause no warning", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", onWarning);
    await using machine = start([...assemble.print("up\n"), ...assemble.reset()], {
      cpus: MAX_CPUS,
    });
    expect(await machine.exited).toMatchObject({ reason: "shutdown", console: ["up"] });
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });

  test("its metrics tell time, exits and memory, until it has ended", async () => {
    const printed: Buffer[] = [];
    const code = [
      ...assemble.print("x\n"),
      ...assemble.load(VIRTIO_MMIO_START),
      ...assemble.spin(),
    ];
    const machine = start(code, {
      devices: [new RngDevice()],
      onConsole: (bytes) => printed.push(Buffer.from(bytes)),
    });
    await vi.waitFor(() => expect(printed).not.toEqual([]), 5000);
    await vi.waitFor(
      async () => expect((await machine.metrics()).vcpus[0]?.exits).toEqual({ io: 2, mmio: 1 }),
      5000,
    );
    const { vcpus, memory, devices, uptimeSeconds, deviceThread } = await machine.metrics();
    expect(vcpus[0]?.cpuSeconds).toBeGreaterThan(0);
    expect(deviceThread?.cpuSeconds).toBeGreaterThan(0);
    expect(uptimeSeconds).toBeGreaterThan(0);
    expect(memory.sizeBytes).toBe(32 << 20);
    expect(memory.residentBytes).toBeGreaterThan(0);
    expect(memory.residentBytes).toBeLessThanOrEqual(32 << 20);
    expect(devices).toMatchObject([{ type: "rng", interrupts: 0, queues: [{ requests: 0 }] }]);
    await machine.stop();
    await expect(machine.metrics()).rejects.toMatchObject({ code: "ERR_VMM_ENDED" });
  });

  test("a reset after a panic message is a panic", async () => {
    const message = "Kernel panic - not syncing: out of luck\n";
    await using machine = start([...assemble.print(message), ...assemble.reset()]);
    const exit = await machine.exited;
    expect(exit.reason).toBe("panic");
    expect(exit.message).toContain("out of luck");
  });

  test("a triple fault is reported with what the guest printed before", async () => {
    await using machine = start([...assemble.print("so far\n"), ...assemble.tripleFault()]);
    const exit = await machine.exited;
    expect(exit.message).toContain("triple fault");
    expect(exit).toMatchObject({ reason: "triple-fault", console: ["so far"] });
  });

  test("the guest finds a virtio device's magic value in its register window", async () => {
    await using machine = start(
      [...assemble.load(VIRTIO_MMIO_START), ...assemble.printEax(), ...assemble.reset()],
      { devices: [new RngDevice()] },
    );
    expect((await machine.exited).console).toEqual(["virt"]);
  });

  test("a guest finds ACPI tables where it looks for them, if its machine has them", async () => {
    const find = [...assemble.load(ACPI_ADDRESS), ...assemble.printEax(), ...assemble.reset()];
    expect((await start(find, { acpi: true }).exited).console).toEqual(["RSD "]);
    expect((await start(find).exited).console).toEqual(["\0\0\0\0"]);
  });

  test("a guest turns its machine off by the sleep control register of ACPI", async () => {
    const exit = await start(assemble.turnOff(), { acpi: true }).exited;
    expect(exit.message).toBe("the guest shut down");
  });

  test("addresses without a device read as ones", async () => {
    await using machine = start([
      ...assemble.load(VIRTIO_MMIO_START),
      ...assemble.printEax(),
      ...assemble.reset(),
    ]);
    expect((await machine.exited).console).toEqual(["\ufffd".repeat(4)]);
  });

  /** A file system device whose session never answers, with this window. */
  function deviceWithWindow(window: FileWindow, repair = () => false): FsDevice {
    const session = { handle: () => {} };
    const { hostAddress, length } = window;
    const read = (offset: number, target: Uint8Array) => window.read(offset, target);
    const write = (offset: number, source: Uint8Array) => window.write(offset, source);
    const cacheWindow = { hostAddress, length, read, write, repair };
    return new FsDevice({ tag: "t", session, cacheWindow });
  }
  const readWindow = [
    ...assemble.mapDistant(WINDOW_ADDRESS),
    ...assemble.load(assemble.distant),
    ...assemble.printEax(),
    ...assemble.reset(),
  ];

  test("a file in the window of a device is memory of the guest, above its RAM", async () => {
    const path = join(directory, "file");
    writeFileSync(path, "sup!");
    using window = new Kvm().createFileWindow(2 << 20);
    const fd = openSync(path, "r");
    expect(window.map(fd, 0, 4096, 0, false)).toBe(0);
    closeSync(fd);
    const exit = await start(readWindow, { devices: [deviceWithWindow(window)] }).exited;
    expect(exit).toMatchObject({ reason: "shutdown", console: ["sup!"] });
  });

  // An interpreting /dev/kvm reports MMIO instead.
  const lab = requireFacility("lab").test;

  lab("a guest that touches its window where nothing is mapped ends with the reason", async () => {
    using window = new Kvm().createFileWindow(2 << 20);
    const exit = await start(readWindow, { devices: [deviceWithWindow(window)] }).exited;
    expect(exit.message).toContain("where nothing is mapped");
    expect(exit).toMatchObject({ reason: "memory-fault", console: [] });
  });

  lab("a guest runs on once a device has repaired what it touched", async () => {
    using window = new Kvm().createFileWindow(2 << 20);
    const path = join(directory, "file");
    writeFileSync(path, "now!");
    const repair = () => {
      const fd = openSync(path, "r");
      expect(window.map(fd, 0, 4096, 0, false)).toBe(0);
      closeSync(fd);
      return true;
    };
    const exit = await start(readWindow, { devices: [deviceWithWindow(window, repair)] }).exited;
    expect(exit).toMatchObject({ reason: "shutdown", console: ["now!"] });
  });

  for (const cpus of [1, 4]) {
    test(`a guest that spins on ${cpus} vCPUs is stopped`, async () => {
      const machine = start(assemble.spin(), { cpus });
      await new Promise((resolve) => setTimeout(resolve, 50));
      const exit = await machine.stop();
      expect(exit.reason).toBe("stopped");
      expect(await machine.exited).toBe(exit);
    });
  }

  test("nothing stays open after machines have ended, well or badly", async () => {
    await start(assemble.reset()).exited;
    const before = openFds();
    for (let round = 0; round < 5; round++) {
      await start(assemble.reset(), { devices: [new RngDevice()] }).exited;
      await start(assemble.tripleFault()).exited;
      expect(() => start([], { kernel: "/dev/null" })).toThrow("not a Linux kernel");
      expect(() => start([], { cpus: 17 })).toThrow("cpus is 17");
    }
    // The threads of the machines that could not start are still on their way out.
    await vi.waitFor(() => expect(openFds()).toBe(before), 5000);
  });

  test("threads started ahead are taken over, and must be as many as the vCPUs", async () => {
    const vcpuThread = new VcpuThreads(new URL("./vcpu-thread.mjs", import.meta.url), 1);
    expect((await start(assemble.reset(), { vcpuThread }).exited).reason).toBe("shutdown");
    const two = new VcpuThreads(new URL("./vcpu-thread.mjs", import.meta.url), 2);
    expect(() => start(assemble.reset(), { vcpuThread: two })).toThrow(
      "2 vCPU threads for 1 vCPUs",
    );
  });

  test("a thread whose machine has ended runs a vCPU of the next one", async () => {
    const file = join(directory, "threads");
    vi.stubEnv("VMM_TEST_THREADS", file);
    await start(assemble.reset()).exited;
    writeFileSync(file, "");
    for (let round = 0; round < 3; round++) {
      await using machine = start([...assemble.print("hello\n"), ...assemble.reset()]);
      expect(await machine.exited).toMatchObject({ reason: "shutdown", console: ["hello"] });
    }
    expect(statSync(file).size).toBe(0);
    await Promise.all(Array.from({ length: 6 }, () => start(assemble.reset()).exited));
    expect(statSync(file).size).toBeGreaterThan(0);
    vi.unstubAllEnvs();
    expect((await start(assemble.tripleFault()).exited).reason).not.toBe("shutdown");
    expect((await start(assemble.reset()).exited).reason).toBe("shutdown");
  });

  test("a module that is no vCPU thread ends the machine with the reason", async () => {
    const vcpuThread = new URL("data:text/javascript,throw new Error('not me')");
    await using machine = start(assemble.reset(), { vcpuThread });
    const exit = await machine.exited;
    expect(exit.reason).toBe("hypervisor-error");
    expect(exit.message).toContain("not me");
  });
});
