import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { Vm } from "supermachine";
import { afterAll, beforeAll, expect } from "vitest";
import { sharedMemory } from "./shared-memory.js";

/* Machines saved and restored on KVM, by the library and the command as they are built. */

const { test } = requireFacility("lab");
const CLI = fileURLToPath(new URL("../../packages/supermachine/dist/cli.js", import.meta.url));

/**
 * Counts for ever, and holds a file of the share open: reads its next line when asked to. It was written for a
 * shell without arithmetic beyond POSIX.
 */
const COUNTER = `
exec 3</share/words
read line <&3
while :; do
  n=$((n+1)); echo $n >/tmp/counter.new; mv /tmp/counter.new /tmp/counter
  if [ -e /tmp/next ]; then read line <&3; rm /tmp/next; fi
  echo $line >/tmp/line
  sleep 0.05
done
`;
const command = { argv: ["sh", "-c", COUNTER] };
const small = { image: "demo", hypervisor: "kvm", memoryMiB: 128 } as const;

const sh = async (vm: Vm, script: string) => {
  const { stdout, stderr, code } = await vm.exec(["sh", "-c", script]);
  expect(`${code} ${stderr}`).toBe("0 ");
  return stdout.trim();
};
const count = async (vm: Vm) => Number(await sh(vm, "cat /tmp/counter 2>/dev/null || echo 0"));
const random = (vm: Vm) => sh(vm, "head -c 16 /dev/urandom | od -An -tx1");

/** Resolves once the machine's own command has counted on. */
async function countsOn(vm: Vm, from: number): Promise<void> {
  await expect.poll(() => count(vm), { timeout: 30_000 }).toBeGreaterThan(from);
}

let directory: TemporaryDirectory;
beforeAll(() => {
  directory = new TemporaryDirectory();
});
afterAll(() => directory[Symbol.dispose]());

function share(name: string) {
  const host = join(directory.path, name);
  mkdirSync(host);
  writeFileSync(join(host, "words"), "pear\napple\n");
  return [{ host, guest: "/share" }];
}

test("a machine's own command goes on in one restored, with its files, as another machine", async () => {
  const snapshot = join(directory.path, "one");
  const mounts = share("share-one");
  await using vm = await Vm.start({ ...small, isolation: "inline", mounts, command });
  await countsOn(vm, 0);
  const before = await count(vm);
  await vm.snapshot(snapshot);
  await expect(vm.snapshot(snapshot)).rejects.toMatchObject({ code: "ERR_SNAPSHOT_WRITE" });
  expect(await sh(vm, "cat /tmp/line")).toBe("pear");

  await using restored = await Vm.restore({ snapshot, mounts, isolation: "inline" });
  const after = await count(restored);
  expect(after).toBeGreaterThanOrEqual(before);
  await sh(restored, "touch /tmp/next");
  await expect.poll(() => sh(restored, "cat /tmp/line"), { timeout: 30_000 }).toBe("apple");
  await countsOn(restored, after);
  expect(Math.abs(Number(await sh(restored, "date +%s")) - Date.now() / 1000)).toBeLessThan(5);
  expect(await random(restored)).not.toBe(await random(vm));
  await countsOn(vm, before);
  await restored.kill();

  // The same snapshot, where it does not fit.
  const isolation = "inline";
  await expect(Vm.restore({ snapshot, isolation })).rejects.toMatchObject({
    code: "ERR_SNAPSHOT_DEVICES",
  });
  const damaged = join(directory.path, "damaged");
  cpSync(snapshot, damaged, { recursive: true });
  const memory = join(damaged, "memory");
  spawnSync("sh", ["-c", `printf x | dd of=${memory} bs=1 seek=1048600 conv=notrunc`]);
  await expect(Vm.restore({ snapshot: damaged, mounts, isolation })).rejects.toMatchObject({
    code: "ERR_SNAPSHOT_CORRUPT",
  });
  writeFileSync(join(damaged, "machine"), "no snapshot");
  await expect(Vm.restore({ snapshot: damaged, mounts, isolation })).rejects.toMatchObject({
    code: "ERR_SNAPSHOT_FORMAT",
  });
});

test("what differs from a snapshot is one, too, without the other, of two CPUs", async () => {
  const [first, second] = [join(directory.path, "first"), join(directory.path, "second")];
  await using vm = await Vm.start({ ...small, cpus: 2, isolation: "inline" });
  await sh(vm, "echo one >/tmp/file");
  await vm.snapshot(first);
  await vm.kill();
  {
    await using restored = await Vm.restore({ snapshot: first, isolation: "inline" });
    await sh(restored, "echo two >>/tmp/file");
    await restored.snapshot(second, { base: first });
    await restored.kill();
  }
  const bytesOf = (snapshot: string) => statSync(join(snapshot, "memory")).blocks * 512;
  expect(bytesOf(second)).toBeLessThan(bytesOf(first) / 2);
  rmSync(first, { recursive: true });
  await using restored = await Vm.restore({ snapshot: second, isolation: "inline" });
  expect(await sh(restored, "cat /tmp/file; nproc")).toBe("one\ntwo\n2");
  await restored.kill();
});

test("forks share the memory that none has written to, and go their own ways", async () => {
  await using vm = await Vm.start({ ...small, isolation: "inline" });
  // Nothing that the machines have in common by their kernel alone.
  await sh(
    vm,
    "for n in 1 2 3 4 5 6 7 8; do cat /bin/busybox >>/tmp/large; done; echo one >/tmp/file",
  );
  const left = readdirSync("/dev/shm");
  const forks = await vm.fork(3);
  try {
    expect(readdirSync("/dev/shm")).toEqual(left);
    for (const [n, fork] of forks.entries())
      await sh(fork, `md5sum </tmp/large >/tmp/sum; echo ${n} >>/tmp/file`);
    const files = await Promise.all([vm, ...forks].map((each) => sh(each, "cat /tmp/file")));
    expect(files).toEqual(["one", "one\n0", "one\n1", "one\n2"]);
    const memory = forks.map(({ description }) => sharedMemory(description.pid));
    for (const { resident, proportional } of memory) {
      expect(resident).toBeGreaterThan(0);
      expect(proportional).toBeLessThan(resident / 2);
    }
  } finally {
    await Promise.all([vm, ...forks].map((each) => each.kill()));
  }
});

test("the command keeps a machine under a name, and goes on from there", () => {
  const supermachine = (...args: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], {
      encoding: "utf8",
      timeout: 120_000,
    });
    return { status, stdout, stderr };
  };
  const [mount] = share("share-command");
  const options = ["--hypervisor", "kvm", "-m", "128", "-v", `${mount?.host}:/share`];
  const machine = "snapshot-source";
  try {
    const script = "echo kept >/tmp/file; exec sleep 1000";
    const run = [
      "run",
      "--detach",
      "--name",
      machine,
      ...options,
      "demo",
      "--",
      "sh",
      "-c",
      script,
    ];
    expect(supermachine(...run)).toEqual({ status: 0, stdout: `${machine}\n`, stderr: "" });
    expect(supermachine("snapshot", "create", machine, "lab")).toMatchObject({
      status: 0,
      stdout: "lab\n",
    });
    expect(supermachine("snapshot", "ls").stdout).toMatch(/^lab +demo +1 +128 MiB +\d/m);
    const look = supermachine("run", "--snapshot", "lab", "--", "cat", "/tmp/file", "/share/words");
    expect(look).toEqual({ status: 0, stdout: "kept\npear\napple\n", stderr: "" });
    expect(supermachine("snapshot", "rm", "lab").status).toBe(0);
    const gone = supermachine("run", "--snapshot", "lab", "--", "true");
    expect(gone).toMatchObject({ status: 125, stderr: expect.stringContaining("no snapshot lab") });
  } finally {
    supermachine("kill", machine);
  }
});
