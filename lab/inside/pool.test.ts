import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireFacility } from "@supermachine-internal/testing";
import { Image, type PooledVm, Vm } from "supermachine";
import { afterAll, expect } from "vitest";

/* Baked images and pools on KVM, by the library as it is built. */

const { test } = requireFacility("lab");

const made: string[] = [];
afterAll(async () => {
  const { rm } = await import("node:fs/promises");
  for (const directory of made) await rm(directory, { recursive: true, force: true });
});

const sh = async (vm: Vm, script: string) => (await vm.exec(["sh", "-c", script])).stdout.trim();

test("machines go on from what a warm-up has left, and are told apart", async () => {
  const image = await Image.open("demo");
  const warmup = async (vm: Vm) => void (await sh(vm, "echo warm >/tmp/state"));
  const baked = await image.bake({ warmup, tag: "lab-test", hypervisor: "kvm" });
  made.push(baked.directory);
  expect(baked.reused).toBe(false);
  expect(await image.bake({ warmup, tag: "lab-test", hypervisor: "kvm" })).toEqual({
    ...baked,
    reused: true,
  });

  await using cold = await image.start({ hypervisor: "kvm" });
  expect(await sh(cold, "cat /tmp/state 2>/dev/null || echo cold")).toBe("cold");
  await using pool = image.pool({ hypervisor: "kvm", warm: "lab-test", max: 1 });
  const seen: string[] = [];
  for (let round = 0; round < 3; round++) {
    await pool.use(async (vm) => {
      expect(await sh(vm, "cat /tmp/state; echo used >/tmp/state")).toBe("warm");
      seen.push(await sh(vm, "head -c 16 /dev/urandom | od -An -tx1"));
    });
  }
  expect(new Set(seen).size).toBe(3);
  expect(pool.stats()).toMatchObject({ acquired: 3, failed: 0 });
});

test("a warm-up that fails leaves nothing", async () => {
  const image = await Image.open("demo");
  const failure = new Error("the warm-up failed");
  const warmup = () => Promise.reject(failure);
  await expect(image.bake({ warmup, tag: "lab-failing", hypervisor: "kvm" })).rejects.toBe(failure);
  const parent = made[0]?.replace(/\/[^/]*$/, "");
  expect(parent !== undefined && existsSync(parent) && readdirSync(parent)).toHaveLength(1);
});

const CYCLES = 5;
/** Leaves a secret wherever a guest can: a file, the page cache, a process's memory, its names, and open files. */
const LEAVE_SECRETS = `
set -e
echo secret-of-$1 >/tmp/secret
cp /share/words /tmp/words
hostname secret-host
mkdir -p /mnt; mount -t tmpfs none /mnt
echo secret >/mnt/secret
(exec 3</share/words 4>>/share/log; while :; do sleep 1000; done) >/dev/null 2>&1 &
echo done
`;
const LOOK = `
cat /tmp/secret /mnt/secret 2>/dev/null || true
ps | grep -c 'sleep 100[0]' || true
cat /tmp/state; hostname; wc -l </share/words
`;

/** What a process has open below a directory. */
function openBelow(pid: number, directory: string): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith(directory);
    } catch {
      // It was that of the listing itself.
      return false;
    }
  }).length;
}

function heldBy(pid: number): { fds: number; threads: number } {
  return {
    fds: readdirSync(`/proc/${pid}/fd`).length,
    threads: readdirSync(`/proc/${pid}/task`).length,
  };
}

const median = (times: readonly number[]) =>
  [...times].sort((a, b) => a - b)[times.length >> 1]?.toFixed(0);

for (const cpus of [1, 2]) {
  test(`a machine of ${cpus} CPUs goes back in place, with nothing of its last holder`, async () => {
    const image = await Image.open("demo");
    const host = mkdtempSync(join(tmpdir(), "pool-share-"));
    writeFileSync(join(host, "words"), "pear\napple\n");
    const mounts = [{ host, guest: "/share" }];
    const options = { hypervisor: "kvm" as const, cpus, mounts, hostname: "fresh" };
    const warmup = async (vm: Vm) => void (await sh(vm, "echo warm >/tmp/state; cat /share/words"));
    const { directory } = await image.bake({ ...options, warmup, tag: `lab-revert-${cpus}` });
    made.push(directory);
    await using pool = image.pool({ ...options, warm: `lab-revert-${cpus}`, max: 1 });
    const used: PooledVm[] = [];
    const pids = new Set<number>();
    const numbers = new Set<string>();
    const cycles: number[] = [];
    let before: ReturnType<typeof heldBy> | undefined;
    for (let round = 0; round < CYCLES; round++) {
      const start = performance.now();
      const vm = await pool.acquire();
      cycles.push(performance.now() - start);
      used.push(vm);
      const { pid } = vm.description;
      pids.add(pid);
      expect(await sh(vm, LOOK)).toBe("0\nwarm\nfresh\n2");
      for await (const { text } of vm.logs()) expect(text).not.toContain("left");
      numbers.add(await sh(vm, "head -c 16 /dev/urandom | od -An -tx1"));
      before ??= heldBy(pid);
      expect(await sh(vm, `set -- ${round}; ${LEAVE_SECRETS}; echo left >/dev/kmsg`)).toBe("done");
      expect(openBelow(pid, host)).toBeGreaterThan(1);
      const endless = vm.exec(["sleep", "1000"]);
      vm.release();
      await expect(endless).rejects.toThrow();
    }
    expect(pids.size).toBe(1);
    expect(numbers.size).toBe(CYCLES);
    await using last = await pool.acquire();
    const after = heldBy(last.description.pid);
    expect(after.fds).toBeLessThanOrEqual((before?.fds ?? 0) + 2);
    expect(after.threads).toBeLessThanOrEqual((before?.threads ?? 0) + 2);
    expect(readFileSync(join(host, "words"), "utf8")).toBe("pear\napple\n");
    expect(used.length).toBe(CYCLES);
    process.stdout.write(
      `${cpus} CPUs: a used machine was ready again after ${median(cycles.slice(1))} ms (median)\n`,
    );
    rmSync(host, { recursive: true });
  });
}

test("a machine goes back faster than another is restored", async () => {
  const image = await Image.open("demo");
  const { directory } = await image.bake({ tag: "lab-times", hypervisor: "kvm" });
  made.push(directory);
  const restored: Record<string, number[]> = { process: [], inline: [] };
  for (const isolation of ["process", "inline"] as const) {
    for (let n = 0; n < 2; n++) {
      const start = performance.now();
      const vm = await Vm.restore({ snapshot: directory, isolation, verifyMemory: false });
      await vm.exec(["true"]);
      restored[isolation]?.push(performance.now() - start);
      await vm.kill();
    }
  }
  const reverted: number[] = [];
  await using vm = await Vm.restore({ snapshot: directory, verifyMemory: false });
  for (let n = 0; n < 4; n++) {
    const start = performance.now();
    await vm.revert();
    await vm.exec(["true"]);
    reverted.push(performance.now() - start);
  }
  process.stdout.write(
    `to the end of \`true\`: restored in a process ${median(restored["process"] ?? [])} ms, inline ${median(restored["inline"] ?? [])} ms, reverted ${median(reverted)} ms\n`,
  );
  expect(Math.min(...reverted)).toBeLessThan(Math.min(...(restored["process"] ?? [])));
});

test("a machine that booted cannot go back, and runs on", async () => {
  const image = await Image.open("demo");
  await using vm = await image.start({ hypervisor: "kvm", warm: false });
  await expect(vm.revert()).rejects.toMatchObject({ code: "ERR_SNAPSHOT_NONE" });
  expect(await sh(vm, "echo alive")).toBe("alive");
});
