import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { requireFacility } from "@supermachine-internal/testing";
import { Vm } from "supermachine";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hypervisor } from "./hypervisor.js";
import { demoStore } from "./images.js";

/* Guests that turn against themselves. Those that only fork or kill are in exec.test.ts. */

let stores: Awaited<ReturnType<typeof demoStore>>;
let directory = "";
beforeAll(async () => {
  stores = await demoStore();
  directory = mkdtempSync(join(tmpdir(), "hostile-"));
});
afterAll(async () => {
  rmSync(directory, { recursive: true });
  await stores[Symbol.asyncDispose]();
});

const start = () => Vm.start({ image: "demo", store: stores.store, hypervisor, memoryMiB: 128 });
const sh = (script: string) => ["sh", "-c", script];

describe(`a guest on ${hypervisor}`, () => {
  test("that eats its memory or fills its disk loses no more than what did it", async () => {
    await using vm = await start();
    const eaters = "tail /dev/zero & tail /dev/zero & wait";
    const eaten = await vm.exec(sh(eaters), { timeoutMs: 60_000 });
    expect(eaten.timedOut).toBe(false);
    expect(await vm.exec(["tail", "/dev/zero"])).toMatchObject({ signal: "SIGKILL" });
    const filled = await vm.exec(sh("cat /dev/zero >/big"));
    expect(filled).toMatchObject({ code: 1, stderr: expect.stringContaining("No space left") });
    const full = { errno: "ENOSPC" };
    await expect(vm.files.write("/small", "x".repeat(9000))).rejects.toMatchObject(full);
    expect(await vm.exec(sh("rm /big; echo room >/small; cat /small /proc/1/comm"))).toMatchObject({
      stdout: expect.stringMatching(/^room\n/),
    });
    expect(await vm.health()).toMatchObject({ answering: true });
  }, 120_000);

  test("that panics ends its machine, and says so to all who wait", async () => {
    await using vm = await start();
    const running = vm.spawn(["sleep", "1000"]);
    await running.pid;
    const gone = { code: "ERR_AGENT_GONE" };
    await Promise.all([
      expect(running.exited).rejects.toMatchObject(gone),
      expect(
        vm.exec(sh("echo 1 >/proc/sys/vm/panic_on_oom; exec tail /dev/zero")),
      ).rejects.toMatchObject(gone),
    ]);
    const exit = await vm.exited;
    expect(exit).toMatchObject({
      reason: "panic",
      message: expect.stringContaining("panic_on_oom"),
    });
    await expect(vm.exec(["true"])).rejects.toMatchObject(gone);
    await expect(vm.pause()).rejects.toMatchObject({ code: "ERR_VM_STOPPED" });
  }, 60_000);

  /** What becomes of a guest that cannot answer any more: within 20 seconds everybody knows, and 4 later it is gone. */
  async function expectGivenUp(vm: Vm, asked: Promise<unknown>): Promise<void> {
    // What it does to itself takes a moment.
    asked.catch(() => {});
    await sleep(2000);
    const before = performance.now();
    const code = expect.stringMatching(/^ERR_AGENT_(TIMEOUT|GONE)$/);
    await Promise.all([
      expect(asked).rejects.toMatchObject({ code }),
      expect(vm.exec(["true"])).rejects.toMatchObject({ code }),
    ]);
    expect(performance.now() - before).toBeLessThan(22_000);
    expect(await vm.health()).toEqual({ status: "running", answering: false });
    const asksToStop = performance.now();
    expect((await vm.stop()).reason).toBe("stopped");
    expect(performance.now() - asksToStop).toBeLessThan(5000);
  }

  const { describe: withCompiler } = requireFacility("program:cc");
  withCompiler("that stops answering", () => {
    test.concurrent("as it closes its vsock is given up, and stopped all the same", async () => {
      await using vm = await start();
      const unbind = `cd /sys/bus/virtio/drivers/*vsock*; for d in virtio*; do echo $d >unbind; done; sleep 1000`;
      await expectGivenUp(vm, vm.exec(sh(unbind)));
    }, 90_000);

    test.concurrent("as it lets nothing but one of its programs run is given up, and stopped all the same", async () => {
      const source = join(directory, "spin.c");
      const program = join(directory, "spin");
      writeFileSync(source, SPIN);
      execFileSync("cc", ["-static", "-O1", "-o", program, source]);
      await using vm = await start();
      await vm.files.write("/spin", readFileSync(program), { mode: 0o755 });
      // A program cannot turn interrupts off; only what Linux does in them goes on.
      const run = "echo -1 >/proc/sys/kernel/sched_rt_runtime_us && exec /spin";
      const spinning = vm.spawn(sh(run));
      const reader = spinning.stdout.getReader();
      const { value } = await reader.read();
      expect(Buffer.from(value ?? []).toString()).toBe("no interrupts: -1\n");
      await expectGivenUp(vm, spinning.exited);
    }, 90_000);
  });
});

test.each(["process", "inline"])(
  "a host without descriptors is told as such, and its process goes on (%s)",
  async (isolation) => {
    const script = `
      import { ImageStore, Vm } from "supermachine";
      import { closeSync, openSync } from "node:fs";
      import { execFileSync } from "node:child_process";
      const store = new ImageStore(${JSON.stringify(stores.store.directory)});
      const isolation = "${isolation}";
      const options = { image: "demo", store, hypervisor: "${hypervisor}", memoryMiB: 128, isolation };
      // All code is loaded then.
      await (await Vm.start(options)).kill();
      const next = openSync("/", "r");
      closeSync(next);
      execFileSync("prlimit", ["--pid=" + process.pid, "--nofile=" + (next + 2) + ":"]);
      const { name, code } = await Vm.start(options).catch((error) => error);
      process.stdout.write(name + " " + code);`;
    const args = ["--input-type=module", "--eval", script];
    const cwd = import.meta.dirname;
    const printed = execFileSync(process.execPath, args, { cwd, timeout: 60_000 }).toString();
    expect(printed).toMatch(
      /^(SupermachineError ERR_VM_PROCESS|\w+Error ERR_(QEMU|KVM|VMM|OCI)_\w+)$/,
    );
  },
  60_000,
);

/** Has the only processor for itself. */
const SPIN = `
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <sys/io.h>
#include <unistd.h>
int main(void) {
  struct sched_param priority = {.sched_priority = 99};
  printf("no interrupts: %d\\n", iopl(3));
  fflush(stdout);
  usleep(300000);
  if (sched_setscheduler(0, SCHED_FIFO, &priority) != 0) return 1;
  for (;;) __asm__ volatile("pause");
}
`;
