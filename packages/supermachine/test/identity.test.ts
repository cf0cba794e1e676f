import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stdout } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import {
  AgentClient,
  AgentControl,
  ensureInitramfs,
  ensureKernel,
  kernelCommandLine,
  randomMachineId,
} from "@supermachine/guest";
import { Kvm } from "@supermachine/kvm";
import { QemuMachine } from "@supermachine/qemu";
import {
  BlockDevice,
  FileBlockBackend,
  FsDevice,
  type VirtioDevice,
  VsockDevice,
} from "@supermachine/virtio";
import { Machine } from "@supermachine/vmm";
import { requireFacility } from "@supermachine-internal/testing";
import { afterAll, beforeAll, expect } from "vitest";
import { hypervisor } from "./hypervisor.js";
import { demoStore } from "./images.js";

const { describe, test } = requireFacility(
  ...(hypervisor === "qemu" ? ["program:qemu-system-x86_64" as const] : []),
);

const directory = mkdtempSync(join(tmpdir(), "identity-"));
const PATIENCE = { timeout: 10_000 };

/** Says how long something took: under emulation, some ten times longer than on a processor. */
async function measured(what: string, action: () => Promise<void>): Promise<void> {
  const before = performance.now();
  await action();
  stdout.write(`${what} in ${(performance.now() - before).toFixed(1)} ms\n`);
}

/** A file system that answers nothing until its end, and then with errors. */
class Silence {
  readonly #pending: (() => void)[] = [];
  #ended = false;

  handle(
    request: readonly Uint8Array[],
    [reply]: readonly Uint8Array[],
    complete: (written: number) => void,
  ): void {
    const header = Buffer.concat(request);
    this.#pending.push(() => {
      // struct fuse_out_header: length, -EIO, the request's id.
      if (reply !== undefined) {
        const answer = Buffer.alloc(16);
        answer.writeUInt32LE(16, 0);
        answer.writeInt32LE(-5, 4);
        header.copy(answer, 8, 8, 16);
        reply.set(answer);
      }
      complete(reply === undefined ? 0 : 16);
    });
    if (this.#ended) this.end();
  }

  end(): void {
    this.#ended = true;
    for (const answer of this.#pending.splice(0)) answer();
  }
}

/** A machine without what {@link Vm} puts around it. */
async function startMachine(
  rootfs: string,
  devices: VirtioDevice[],
): Promise<QemuMachine | Machine> {
  const options = {
    kernel: await ensureKernel(),
    initrd: await ensureInitramfs(),
    memoryMiB: 192,
    cpus: 1,
  };
  const commandLine = { root: "/dev/vda", hostname: "first", console: "ttyS0" };
  if (hypervisor === "qemu") {
    return QemuMachine.start({
      ...options,
      commandLine: kernelCommandLine(commandLine),
      disks: [{ path: rootfs, readOnly: true }],
      devices,
      runtimeDirectory: directory,
    });
  }
  const disk = new BlockDevice({ backend: FileBlockBackend.open(rootfs, { readOnly: true }) });
  return Machine.start({
    ...options,
    hypervisor: new Kvm(),
    vcpuThread: new URL("../dist/vcpu-thread.js", import.meta.url),
    commandLine: kernelCommandLine({ ...commandLine, reset: "keyboard-controller" }),
    devices: [disk, ...devices],
  });
}

/** A guest with its agent, and nothing else of this package around it. */
describe("a guest that is frozen, and made another machine", () => {
  let machine: QemuMachine | Machine;
  let vsock: VsockDevice;
  const silence = new Silence();
  let control: AgentControl;
  let agent: AgentClient;

  beforeAll(async () => {
    await using images = await demoStore();
    const { rootfsPath } = await images.store.get("demo");
    vsock = new VsockDevice();
    const silent = new FsDevice({ tag: "silent", session: silence });
    const accepted = AgentControl.accept(vsock, { timeoutMs: 60_000 });
    machine = await startMachine(rootfsPath, [vsock, silent]);
    control = await accepted;
    agent = new AgentClient(vsock);
  }, 90_000);
  afterAll(async () => {
    control.close();
    await machine.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const run = async (script: string) => {
    const { stdout: output, stderr } = await agent.run({ argv: ["sh", "-c", script] });
    expect(stderr.toString()).toBe("");
    return output.toString();
  };
  /** Notes the time, in seconds since boot, again and again. */
  const diary = (file: string) =>
    `while :; do cut -d' ' -f1 /proc/uptime >>${file}; sleep 0.02; done`;
  const readDiary = async (file: string) =>
    (await run(`cat ${file} || true`)).trim().split("\n").map(Number);
  /** The longest time in which nothing was noted. */
  const longestGap = (times: readonly number[]) =>
    Math.max(...times.slice(1).map((time, index) => time - (times[index] ?? 0)));

  test("has a machine id from its host", async () => {
    expect(await run("cat /etc/machine-id")).toMatch(/^[0-9a-f]{32}\n$/);
    await control.sync({ machineId: "0".repeat(32) });
    expect(await run("cat /etc/machine-id")).not.toContain("000000000000");
  });

  test("no process runs while it is frozen, wherever it has moved to, and all go on unharmed", async () => {
    const group = "/sys/fs/cgroup/own";
    const processes = [
      diary("/tmp/started"),
      `mkdir ${group}; echo $$ >${group}/cgroup.procs; ${diary("/tmp/moved")}`,
      `echo $$ >/sys/fs/cgroup/cgroup.procs; ${diary("/tmp/root")}`,
    ].map((script) => agent.exec({ argv: ["sh", "-c", script] }));
    const diaries = ["/tmp/started", "/tmp/moved", "/tmp/root"];
    await expect.poll(() => run("cat /tmp/root | wc -l"), PATIENCE).toMatch(/^\d\d/);
    await measured("frozen", () => control.freeze());

    let ended = false;
    const late = agent.run({ argv: ["true"] }).finally(() => {
      ended = true;
    });
    await sleep(1500);
    expect(await control.ping()).toBeGreaterThan(0);
    expect(ended).toBe(false);
    await measured("thawed", () => control.thaw());
    expect((await late).code).toBe(0);
    const thawed = Number((await run("cut -d' ' -f1 /proc/uptime")).trim());
    for (const file of diaries) {
      await expect
        .poll(async () => (await readDiary(file)).at(-1), PATIENCE)
        .toBeGreaterThan(thawed);
      expect(longestGap(await readDiary(file))).toBeGreaterThan(1.4);
    }
    for (const process of processes) process.close();
  });

  test("what a container runtime in the guest has frozen stays frozen", async () => {
    const group = "/sys/fs/cgroup/paused";
    await run(`mkdir ${group}; echo 1 >${group}/cgroup.freeze`);
    await control.freeze();
    await control.thaw();
    expect(await run(`cat ${group}/cgroup.freeze`)).toBe("1\n");
  });

  test("a process that cannot stop is named, and everything runs on", async () => {
    const script = "mkdir /silent; mount -t virtiofs silent /silent; exec ls /silent";
    const mount = agent.exec({ argv: ["sh", "-c", script] });
    const pid = await mount.started;
    await expect.poll(() => run(`cut -d' ' -f2,3 /proc/${pid}/stat`), PATIENCE).toBe("(ls) D\n");
    await expect(control.freeze({ timeoutMs: 300 })).rejects.toMatchObject({
      code: "ERR_AGENT_FREEZE",
      message: expect.stringContaining(`process ${pid} (ls)`),
    });
    expect(await run("echo alive")).toBe("alive\n");
    mount.close();
    silence.end();
    await run("umount /silent");
  });

  test("a copy gets another name, machine id and boot id, and the right time", async () => {
    const files = "/etc/hostname /etc/machine-id /proc/sys/kernel/random/boot_id /etc/hosts";
    const names = () => run(`hostname; cat ${files} 2>/dev/null | grep -v localhost`);
    const before = (await names()).split("\n");
    const machineId = randomMachineId();
    await run("date -s @1000000000");
    await control.sync({ hostname: "second", machineId, copy: true });
    const [hostname, id, bootId, hosts] = (await names()).split("\n");
    expect({ hostname, id, hosts }).toEqual({
      hostname: "second",
      id: machineId,
      hosts: "127.0.1.1\tsecond",
    });
    expect(bootId).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(before).not.toContain(bootId);
    expect(Math.abs(Number(await run("date +%s")) - Date.now() / 1000)).toBeLessThan(2);

    await control.sync({ copy: true });
    const again = (await names()).split("\n");
    expect(again[0]).toBe("second");
    expect(again[2]).not.toBe(bootId);
    expect(await run("grep -c boot_id /proc/mounts")).toBe("1\n");
  });

  test("after the loss of its vsock the agent is back at once, and tells that it is frozen", async () => {
    expect(control.hello.frozen).toBe(false);
    await control.freeze();
    control.close();
    const restored = AgentControl.accept(vsock, { sync: { copy: true } });
    await measured("connected again", async () => {
      // QEMU keeps the queue to itself by which the guest would hear of this.
      if (hypervisor === "kvm") vsock.resetTransport();
      control = await restored;
    });
    expect(control.hello.frozen).toBe(true);
    const late = agent.run({ argv: ["echo", "thawed"] });
    await control.thaw();
    expect((await late).stdout.toString()).toBe("thawed\n");
  });

  test("a frozen guest shuts down when asked", async () => {
    const obliging = agent.exec({
      argv: ["sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.1; done"],
    });
    await obliging.started;
    await sleep(200);
    await control.freeze();
    await control.shutdown();
    expect(await obliging.exited).toMatchObject({ code: 9 });
    expect((await machine.exited).reason).toBe("shutdown");
  });
}, 90_000);
