import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireFacility } from "@supermachine-internal/testing";
import { Vm } from "supermachine";
import { afterAll, beforeAll, expect } from "vitest";

/* Machines on KVM in worker threads of this process, whose descriptors and threads they share. */

const { test } = requireFacility("lab");

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "thread-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

const count = (what: "fd" | "task") => readdirSync(`/proc/self/${what}`).length;
const sh = async (vm: Vm, script: string) => (await vm.exec(["sh", "-c", script])).stdout.trim();

test("a machine in a thread starts, is saved, goes on as another, and leaves nothing", async () => {
  const options = { hypervisor: "kvm", isolation: "thread", memoryMiB: 128 } as const;
  const mounts = [{ host: directory, guest: "/share" }];
  const cycle = async (name: string) => {
    const snapshot = join(directory, name);
    await using vm = await Vm.start({ image: "demo", ...options, cpus: 2, mounts });
    expect(vm.description.pid).toBe(process.pid);
    expect(await sh(vm, "echo kept >/tmp/file; nproc; ls /share")).toContain("2");
    await vm.snapshot(snapshot);
    await using restored = await Vm.restore({ snapshot, mounts, isolation: "thread" });
    expect(await sh(restored, "cat /tmp/file; nproc")).toBe("kept\n2");
    expect((await restored.stop()).reason).toBe("shutdown");
    expect(await sh(vm, "cat /tmp/file")).toBe("kept");
    expect((await vm.kill()).reason).toBe("stopped");
  };
  // The first loads what stays loaded.
  await cycle("first");
  const before = { fds: count("fd"), threads: count("task") };
  await cycle("second");
  expect({ fds: count("fd"), threads: count("task") }).toEqual(before);
});

for (const isolation of ["thread", "inline"]) {
  test(`a process exits at once although a guest of its own stands still (${isolation})`, async () => {
    const program = `
      import { Vm } from "supermachine";
      await Vm.start({ image: "demo", hypervisor: "kvm", isolation: "${isolation}", memoryMiB: 128 });
      process.stdout.write("up");
      setTimeout(() => process.exit(7), 1000);`;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
      cwd: import.meta.dirname,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exit = once(child, "exit");
    await once(child.stdout, "data");
    const timer = setTimeout(() => child.kill("SIGKILL"), 20_000);
    const before = performance.now();
    const ended = await exit;
    clearTimeout(timer);
    process.stdout.write(`${isolation}: ${(performance.now() - before - 1000).toFixed(0)} ms\n`);
    expect(ended).toEqual([7, null]);
  });
}
