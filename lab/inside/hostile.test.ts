import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { requireFacility } from "@supermachine-internal/testing";
import { Vm } from "supermachine";
import { afterAll, beforeAll, expect } from "vitest";

/* Hosts that run out, and processes that are killed, while machines on KVM are saved and forked. */

const { test } = requireFacility("lab");

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "hostile-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

const start = () => Vm.start({ image: "demo", hypervisor: "kvm", memoryMiB: 128 });
const forks = () => readdirSync("/dev/shm").filter((name) => name.startsWith("supermachine-fork-"));

/** Sets a limit of another process while `work` is done. */
async function limited(pid: number, limit: string, value: number, work: () => Promise<void>) {
  const set = (soft: string) => execFileSync("prlimit", [`--pid=${pid}`, `--${limit}=${soft}:`]);
  const was = execFileSync("prlimit", [`--pid=${pid}`, `--${limit}`, "-o", "SOFT", "--noheadings"]);
  set(String(value));
  try {
    await work();
  } finally {
    set(String(was).trim());
  }
}

test("a host without room, descriptors or memory is told as such, and machines run on", async () => {
  await using vm = await start();
  const { pid } = vm.description;
  const small = join(directory, "small");
  mkdirSync(small);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", small]);
  try {
    const space = { code: "ERR_SNAPSHOT_SPACE" };
    await expect(vm.snapshot(join(small, "saved"))).rejects.toMatchObject(space);
    await expect(vm.fork(2, { directory: small })).rejects.toMatchObject(space);
    expect(readdirSync(small)).toEqual([]);
  } finally {
    execFileSync("umount", [small]);
  }
  const base = join(directory, "base");
  await vm.snapshot(base);
  const before = readdirSync(directory).sort();
  const open = readdirSync(`/proc/${pid}/fd`).length;
  await limited(pid, "nofile", open, async () => {
    const saved = vm.snapshot(join(directory, "saved"));
    await expect(saved).rejects.toMatchObject({ code: "ERR_SNAPSHOT_WRITE" });
    await expect(saved).rejects.toThrow("EMFILE");
  });
  const [, size] = /^VmSize:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  await limited(pid, "as", (Number(size) + 1024) * 1024, async () => {
    const saved = vm.snapshot(join(directory, "saved"), { base });
    await expect(saved).rejects.toMatchObject({ code: "ERR_SNAPSHOT_BASE" });
    await expect(saved).rejects.toThrow("save without a base");
  });
  expect(readdirSync(directory).sort()).toEqual(before);
  expect((await vm.exec(["echo", "alive"])).stdout).toBe("alive\n");
  await vm.snapshot(join(directory, "saved"), { base });
});

test("a machine's process that is killed while it saves is an error, and leaves nothing for long", async () => {
  const target = join(directory, "killed");
  {
    await using vm = await start();
    const saving = vm.snapshot(target);
    saving.catch(() => {});
    // The directory beside the one that it becomes: it is at it.
    const isAtIt = () => readdirSync(directory).some((name) => name.startsWith("killed."));
    while (!isAtIt()) await sleep(1);
    process.kill(vm.description.pid, "SIGKILL");
    await expect(saving).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_VM_(PROCESS|STOPPED)$/),
    });
    await vm.exited;
  }
  expect(existsSync(target)).toBe(false);
  await using vm = await start();
  await vm.snapshot(target);
  expect(readdirSync(directory).filter((name) => name.startsWith("killed"))).toEqual(["killed"]);
});

/** A process that runs `script`, prints a line when its machine is up, and lives until it is killed. */
async function owner(script: string): Promise<ChildProcess> {
  const program = `
    import { Vm } from "supermachine";
    const vm = await Vm.start({ image: "demo", hypervisor: "kvm", memoryMiB: 128 });
    process.stdout.write("up\\n");
    ${script}
    process.stdout.write("done\\n");
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    cwd: import.meta.dirname,
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return child;
}

const machineProcesses = () =>
  readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("machine-process.js");
    } catch {
      return false;
    }
  });

test("an owner that is killed while it saves or forks leaves nothing", async () => {
  const saved = JSON.stringify(join(directory, "abandoned", "saved"));
  const cases: [string, () => boolean][] = [
    [`await vm.snapshot(${saved});`, () => readdirSync(join(directory, "abandoned")).length > 0],
    ["await vm.fork(2);", () => forks().length > 0],
  ];
  mkdirSync(join(directory, "abandoned"));
  for (const [script, isAtIt] of cases) {
    const child = await owner(script);
    while (!isAtIt()) await sleep(1);
    child.kill("SIGKILL");
    const killed = performance.now();
    await expect.poll(machineProcesses, { timeout: 10_000, interval: 20 }).toEqual([]);
    process.stdout.write(`gone after ${(performance.now() - killed).toFixed(0)} ms\n`);
    // A snapshot that was complete in time is one.
    const left = readdirSync(join(directory, "abandoned")).filter((name) => name !== "saved");
    expect([left, forks()]).toEqual([[], []]);
  }
});
