import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  AgentClient,
  AgentControl,
  ensureInitramfs,
  ensureKernel,
  kernelCommandLine,
  type SyncOptions,
} from "@supermachine/guest";
import { Kvm } from "@supermachine/kvm";
import { ImageStore } from "@supermachine/oci/image-store";
import { BlockDevice, FileBlockBackend, RngDevice, VsockDevice } from "@supermachine/virtio";
import { Machine, Snapshot } from "@supermachine/vmm";
import { requireFacility } from "@supermachine-internal/testing";
import { Vm } from "supermachine";
import { afterAll, beforeAll, expect } from "vitest";

const { test } = requireFacility("lab");
const DEMO = "demo";
const PATIENCE = { timeout: 60_000 };
const RESEEDED = "crng reseeded due to virtual machine fork";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "identity-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

interface Guest {
  readonly machine: Machine;
  readonly control: AgentControl;
  readonly run: (script: string) => Promise<string>;
}

/** Starts a machine, or goes on from a snapshot, and waits for its agent. */
async function start(snapshot?: Snapshot, sync?: SyncOptions): Promise<Guest> {
  const { rootfsPath } = await new ImageStore().get(DEMO);
  const vsock = new VsockDevice();
  const accepted = AgentControl.accept(vsock, { timeoutMs: 120_000, ...(sync && { sync }) });
  const disk = new BlockDevice({ backend: FileBlockBackend.open(rootfsPath, { readOnly: true }) });
  const host = {
    hypervisor: new Kvm(),
    vcpuThread: new URL("../../packages/supermachine/dist/vcpu-thread.js", import.meta.url),
    devices: [disk, vsock, new RngDevice()],
  };
  const machine = snapshot
    ? await Machine.restore({ ...host, snapshot })
    : Machine.start({
        ...host,
        memoryMiB: 160,
        kernel: await ensureKernel(),
        initrd: await ensureInitramfs(),
        commandLine: kernelCommandLine({
          root: "/dev/vda",
          hostname: "original",
          console: "ttyS0",
          reset: "keyboard-controller",
        }),
        acpi: true,
      });
  const agent = new AgentClient(vsock);
  const run = async (script: string) => {
    const { stdout } = await agent.run({ argv: ["sh", "-c", script] });
    return stdout.toString();
  };
  return { machine, control: await accepted, run };
}

test("two machines restored from one snapshot share neither random numbers, names nor ids", async () => {
  const original = await start();
  // A process that draws random numbers on and on, from before the snapshot to after it.
  const draw = "echo $(cut -d' ' -f1 /proc/uptime) $(cat /proc/sys/kernel/random/uuid)";
  const diary = `while :; do ${draw} >>/tmp/drawn; sleep 0.05; done`;
  await original.run(`setsid sh -c "${diary.replaceAll("$", "\\$")}" >/dev/null 2>&1 &`);
  await expect
    .poll(async () => (await lines(original, "/tmp/drawn")).length, PATIENCE)
    .toBeGreaterThan(2);
  await original.control.freeze();
  await original.machine.save(join(directory, "snapshot"));
  await original.control.thaw();
  await original.control.shutdown().catch(() => {});
  await original.machine.stop();

  using snapshot = Snapshot.open(join(directory, "snapshot"));
  const copies: { drawn: string[]; names: string[]; random: string }[] = [];
  for (const hostname of ["first", "second"]) {
    const copy = await start(snapshot, { copy: true, hostname });
    const { machine, control, run } = copy;
    expect(control.hello.frozen).toBe(true);
    await control.thaw();
    const before = (await lines(copy, "/tmp/drawn")).length;
    await expect
      .poll(async () => (await lines(copy, "/tmp/drawn")).length, PATIENCE)
      .toBeGreaterThan(before + 2);
    const drawn = await lines(copy, "/tmp/drawn");
    const random = await run("head -c 32 /dev/urandom | od -An -tx1");
    const files = "/etc/machine-id /proc/sys/kernel/random/boot_id";
    const names = (await run(`hostname; cat ${files}`)).trim().split("\n");
    expect(names[0]).toBe(hostname);
    const seconds = Number(await run("date +%s"));
    expect(Math.abs(seconds - Date.now() / 1000)).toBeLessThan(1.5);
    // By the generation id alone: the entropy that the agent is given is credited without a word.
    await expect.poll(() => run("dmesg"), PATIENCE).toContain(RESEEDED);
    copies.push({ drawn, names, random });
    control.close();
    await machine.stop();
  }
  const [first, second] = copies;
  if (first === undefined || second === undefined) throw new Error("no copies");
  expect(first.random).not.toBe(second.random);
  for (const [index, name] of first.names.entries()) expect(second.names[index]).not.toBe(name);
  // The number drawn next by one who had not been told that it is a copy would be the same, at another time.
  const shared = first.drawn.filter((line) => second.drawn.includes(line));
  const numbers = (drawn: readonly string[]) => drawn.map((line) => line.split(" ")[1]);
  const sharedNumbers = numbers(first.drawn).filter((uuid) => numbers(second.drawn).includes(uuid));
  expect(shared.length).toBeGreaterThan(2);
  expect(sharedNumbers).toEqual(numbers(shared));
}, 300_000);

test("a machine's kernel learns by itself that it was restored, and can switch itself off", async () => {
  const saved = join(directory, "by-itself");
  await using vm = await Vm.start({ image: DEMO, hypervisor: "kvm" });
  expect((await vm.exec(["dmesg"])).stdout.toString()).not.toContain(RESEEDED);
  await vm.snapshot(saved);
  await using restored = await Vm.restore({ snapshot: saved });
  const messages = async () => (await restored.exec(["dmesg"])).stdout.toString();
  await expect.poll(messages, PATIENCE).toContain(RESEEDED);
  await restored.exec(["poweroff", "-f"]).catch(() => {}); // the connection goes with the machine
  expect(await restored.exited).toMatchObject({ reason: "shutdown" });
});

async function lines({ run }: Guest, file: string): Promise<string[]> {
  return (await run(`cat ${file}`)).split("\n").filter((line) => line !== "");
}
