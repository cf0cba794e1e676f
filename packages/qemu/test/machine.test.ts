import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "@supermachine-internal/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { QemuMachine, type QemuMachineOptions } from "../src/index.js";
import { buildInitrd, describeMachine, findTestKernel } from "./guest.js";

let directory: string;
let initrd: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "qemu-test-"));
  initrd = buildInitrd(directory);
});
afterAll(() => rmSync(directory, { recursive: true }));

function start(steps: string, options: Partial<QemuMachineOptions> = {}): Promise<QemuMachine> {
  return QemuMachine.start({
    kernel: findTestKernel(),
    initrd,
    commandLine: `console=ttyS0 reboot=t panic=-1 quiet steps=${steps}`,
    memoryMiB: 128,
    runtimeDirectory: directory,
    ...options,
  });
}

/** Waits until the guest's PID 1 runs. */
async function untilUp(machine: QemuMachine): Promise<void> {
  const up = () => machine.consoleLines().some((line) => line.startsWith("up:"));
  await until(up, "the guest's PID 1", 60_000);
}

/** What is left of machines in the runtime directory. */
function leftovers(): string[] {
  return readdirSync(directory).filter((name) => name.startsWith("qemu-"));
}

describeMachine("a QEMU machine", () => {
  test("boots Linux, shows its console, and ends when the guest resets", async () => {
    let output = "";
    const started = performance.now();
    const machine = await start("", { onConsole: (bytes) => (output += Buffer.from(bytes)) });
    const exit = await machine.exited;
    const total = performance.now() - started;
    expect(exit).toMatchObject({ reason: "shutdown", message: "the guest shut down" });
    const [, guestSeconds] = /up: ([\d.]+)/.exec(output) ?? [];
    expect(exit.console.join("\n")).toContain(`up: ${guestSeconds}`);
    process.stdout.write(
      `booted in ${guestSeconds} s of guest time, ${total.toFixed(0)} ms in all\n`,
    );
    expect(leftovers()).toEqual([]);
  });

  test("that has ended keeps no timer when it is stopped", async () => {
    const machine = await start("");
    const exit = await machine.exited;
    const timers = () =>
      process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length;
    const before = timers();
    expect(await machine.stop()).toBe(exit);
    expect(timers()).toBe(before);
  });

  test("shows its disks in order, and keeps read-only ones read-only", async () => {
    const [first, second] = ["first", "second,with=comma"].map((name) => join(directory, name));
    writeFileSync(first ?? "", "the first disk..".padEnd(4096));
    writeFileSync(second ?? "", "the second disk.".padEnd(4096));
    const disks = [{ path: first ?? "", readOnly: true }, { path: second ?? "" }];
    const machine = await start("disks", { disks });
    const { console } = await machine.exited;
    expect(console.filter((line) => line.startsWith("disk"))).toEqual([
      "disk: /dev/vda the first disk.. read-only",
      "disk: /dev/vdb the second disk. writable",
    ]);
    const bytesAt512 = (path = "") => readFileSync(path).toString("latin1", 512, 519);
    expect([bytesAt512(first), bytesAt512(second)]).toEqual([" ".repeat(7), "changed"]);
  });

  test("that has ended cannot be paused, and says so", async () => {
    const machine = await start("");
    await machine.exited;
    await expect(machine.pause()).rejects.toMatchObject({ code: "ERR_QEMU_ENDED" });
  });

  test("that is paused stands still until it is resumed", async () => {
    let printed = 0;
    const machine = await start("flood", { onConsole: ({ length }) => (printed += length) });
    await until(() => printed > 0, "the guest's console", 60_000);
    await machine.pause();
    await machine.pause();
    // What QEMU had written already arrives.
    await sleep(200);
    const before = printed;
    await sleep(500);
    expect(printed).toBe(before);
    await machine.resume();
    await machine.resume();
    expect(await machine.exited).toMatchObject({ reason: "shutdown" });
    expect(printed).toBeGreaterThan(before);
  });

  test("that panics says so, with the reason", async () => {
    const exit = await (await start("panic")).exited;
    expect(exit.reason).toBe("panic");
    expect(exit.message).toMatch(/Attempted to kill init/);
  });

  test("that floods its console is kept to the last lines", async () => {
    const { console, reason } = await (await start("flood")).exited;
    expect(reason).toBe("shutdown");
    expect(console).toHaveLength(100);
    expect(console.join()).toContain("flood: 0123456789");
  });

  test("stops when told, any number of times, and leaves nothing", async () => {
    const machine = await start("hang", { cpus: 2 });
    await untilUp(machine);
    const exits = await Promise.all([machine.stop(), machine.stop()]);
    expect(exits[0]).toBe(exits[1]);
    expect(exits[0].reason).toBe("stopped");
    expect(existsSync(`/proc/${machine.pid}`)).toBe(false);
    expect(leftovers()).toEqual([]);
  });

  test("stops also while it is paused", async () => {
    const machine = await start("flood");
    await machine.pause();
    expect((await machine.stop()).reason).toBe("stopped");
    expect(leftovers()).toEqual([]);
  });

  test("that is killed by somebody else says by what", async () => {
    const machine = await start("hang");
    await untilUp(machine);
    process.kill(machine.pid, "SIGKILL");
    const exit = await machine.exited;
    expect(exit.reason).toBe("hypervisor-error");
    expect(exit.message).toBe("QEMU was killed by SIGKILL");
  });

  test("that QEMU cannot build ends with what QEMU says", async () => {
    const notKernel = join(directory, "not-a-kernel");
    writeFileSync(notKernel, "no kernel");
    const exit = await (await start("", { kernel: notKernel })).exited;
    expect(exit.reason).toBe("hypervisor-error");
    expect(exit.message).toMatch(/^QEMU ended with status 1: .*kernel/);
    expect(leftovers()).toEqual([]);
  });
});
