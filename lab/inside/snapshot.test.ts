import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireFacility } from "@supermachine-internal/testing";
import { Vm } from "supermachine";
import { afterAll, beforeAll, expect } from "vitest";

/* Machines saved and restored on KVM, by the library as it is built. */

const { test } = requireFacility("lab");

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "snapshot-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

const sh = async (vm: Vm, script: string) => {
  const { stdout, stderr, exitCode } = await vm.exec(["sh", "-c", script]);
  expect(`${exitCode} ${stderr}`).toBe("0 ");
  return stdout.toString().trim();
};

/** Counts for ever into a file, and holds a file of the share open. */
const COUNTER = `
exec 3</share/words
while :; do n=$((n+1)); echo $n >/tmp/counter.new; mv /tmp/counter.new /tmp/counter; sleep 0.05; done
`;

for (const cpus of [1, 2]) {
  test(`machines of ${cpus} CPUs go on from one snapshot, each as another`, async () => {
    const host = join(directory, `share-${cpus}`);
    const snapshot = join(directory, `saved-${cpus}`);
    writeFileSync(mkShare(host), "pear\napple\n");
    const mounts = [{ host, guest: "/share" }];
    const command = { argv: ["sh", "-c", COUNTER] };
    await using vm = await Vm.start({ image: "demo", hypervisor: "kvm", cpus, mounts, command });
    await sh(vm, "echo kept >/tmp/file; cat /share/words");
    await expect.poll(() => sh(vm, "cat /tmp/counter 2>/dev/null || true")).toMatch(/\d/);
    const before = Number(await sh(vm, "cat /tmp/counter"));
    const start = performance.now();
    await vm.snapshot(snapshot);
    const saved = performance.now() - start;

    const seen: string[] = [];
    const times: number[] = [];
    for (let n = 0; n < 2; n++) {
      const begin = performance.now();
      await using restored = await Vm.restore({ snapshot, mounts });
      times.push(performance.now() - begin);
      expect(await sh(restored, "cat /tmp/file; nproc")).toBe(`kept\n${cpus}`);
      const after = Number(await sh(restored, "cat /tmp/counter"));
      expect(after).toBeGreaterThanOrEqual(before);
      await expect
        .poll(async () => Number(await sh(restored, "cat /tmp/counter")))
        .toBeGreaterThan(after);
      expect(await sh(restored, "cat /share/words")).toBe("pear\napple");
      expect(Math.abs(Number(await sh(restored, "date +%s")) - Date.now() / 1000)).toBeLessThan(20);
      seen.push(await sh(restored, "head -c 16 /dev/urandom | od -An -tx1"));
    }
    expect(new Set(seen).size).toBe(2);
    // The machine that was saved has gone on as well.
    expect(await sh(vm, "cat /tmp/file")).toBe("kept");
    process.stdout.write(
      `${cpus} CPUs: saved in ${saved.toFixed(0)} ms, restored in ${times.map((t) => t.toFixed(0)).join(" and ")} ms\n`,
    );
  });
}

test("forks share what they were, and go their own ways", async () => {
  await using vm = await Vm.start({ image: "demo", hypervisor: "kvm" });
  await sh(vm, "echo one >/tmp/file");
  const before = readdirSync("/dev/shm").length;
  const forks = await vm.fork(2);
  expect(readdirSync("/dev/shm").length).toBe(before);
  try {
    for (const [n, fork] of forks.entries()) await sh(fork, `echo ${n} >>/tmp/file`);
    await sh(vm, "echo parent >>/tmp/file");
    const files = await Promise.all([vm, ...forks].map((each) => sh(each, "cat /tmp/file")));
    expect(files).toEqual(["one\nparent", "one\n0", "one\n1"]);
  } finally {
    for (const fork of forks) await fork.kill();
  }
});

test("a snapshot is refused when it is damaged, or asks for other mounts", async () => {
  const snapshot = join(directory, "refused");
  const host = join(directory, "share-refused");
  writeFileSync(mkShare(host), "x");
  await using vm = await Vm.start({
    image: "demo",
    hypervisor: "kvm",
    mounts: [{ host, guest: "/share" }],
  });
  await vm.snapshot(snapshot);
  await expect(vm.snapshot(snapshot)).rejects.toMatchObject({ code: "ERR_SNAPSHOT_WRITE" });
  await expect(Vm.restore({ snapshot })).rejects.toMatchObject({ code: "ERR_SNAPSHOT_DEVICES" });
  writeFileSync(join(snapshot, "machine"), "no snapshot");
  await expect(Vm.restore({ snapshot })).rejects.toMatchObject({ code: "ERR_SNAPSHOT_FORMAT" });
});

/** A directory to share; answers the path of a file in it. */
function mkShare(path: string): string {
  mkdirSync(path);
  return join(path, "words");
}
