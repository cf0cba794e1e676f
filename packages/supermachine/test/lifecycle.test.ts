import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ImageStore, type LogEntry, Vm, type VmOptions } from "supermachine";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { hypervisor } from "./hypervisor.js";
import { demoStore } from "./images.js";
import { descendants, eventually, isRunning } from "./processes.js";

let stores: Awaited<ReturnType<typeof demoStore>>;
let store: ImageStore;
let runtime = "";

beforeAll(async () => {
  stores = await demoStore();
  store = stores.store;
  runtime = await mkdtemp(join(tmpdir(), "supermachine-runtime-"));
});
afterAll(async () => {
  await stores[Symbol.asyncDispose]();
  await rm(runtime, { recursive: true });
});
beforeEach(() => {
  vi.stubEnv("XDG_RUNTIME_DIR", runtime);
});
afterEach(async () => {
  expect(await eventually(() => descendants(process.pid).length === 0, 2000)).toBe(true);
  expect(await leftBehind()).toEqual([]);
  vi.unstubAllEnvs();
});

const leftBehind = () => readdir(join(runtime, "supermachine")).catch(() => []);

const start = (options: Partial<VmOptions> = {}) =>
  Vm.start({ image: "demo", store, hypervisor, memoryMiB: 128, ...options });

/** A process of its own that runs `script`, with `start()` and `print()`, and lives until it is killed. */
async function host(script: string): Promise<{ child: ChildProcess; printed: string }> {
  const program = `
    import { ImageStore, Vm } from "supermachine";
    const store = new ImageStore(${JSON.stringify(store.directory)});
    const start = (options) =>
      Vm.start({ image: "demo", store, hypervisor: "${hypervisor}", memoryMiB: 128, ...options });
    const print = (text) => process.stdout.write(text + "\\n");
    ${script}`;
  const args = ["--input-type=module", "--eval", program];
  const child = spawn(process.execPath, args, {
    cwd: import.meta.dirname,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [printed] = await once(child.stdout, "data");
  return { child, printed: String(printed).trim() };
}

async function textOf(entries: AsyncIterable<LogEntry>): Promise<string> {
  let text = "";
  for await (const entry of entries) text += entry.text;
  return text;
}

describe(`a machine on ${hypervisor} whose owner is killed`, () => {
  test("leaves nothing within a second: no process, socket or file", async () => {
    const share = join(runtime, "share");
    await mkdir(share, { recursive: true });
    const mounts = JSON.stringify([{ host: share, guest: "/share" }]);
    const { child, printed } = await host(
      `const vm = await start({ mounts: ${mounts} });
       const running = vm.exec(["sh", "-c", "echo x > /share/file; sleep 1000"]);
       while ((await vm.exec(["cat", "/share/file"])).code !== 0);
       print("up");
       await running;`,
    );
    expect(printed).toBe("up");
    const others = descendants(child.pid ?? 0);
    expect(others.length).toBeGreaterThan(0);
    expect(await leftBehind()).not.toEqual([]);
    child.kill("SIGKILL");
    expect(await eventually(() => !others.some(isRunning), 1000)).toBe(true);
    expect(await leftBehind()).toEqual([]);
  });

  test("that was still booting, too", async () => {
    const { child } = await host(`print("starting"); await start();`);
    await sleep(500);
    const others = descendants(child.pid ?? 0);
    child.kill("SIGKILL");
    expect(await eventually(() => !others.some(isRunning), 1000)).toBe(true);
    expect(await leftBehind()).toEqual([]);
  });
});

describe(`a detached machine on ${hypervisor}`, () => {
  test("outlives its starter, and is found, used and stopped by others", async () => {
    const { child, printed: id } = await host(
      `const vm = await start({ detached: true, name: "web", env: { COLOUR: "blue" } });
       await vm.exec(["sh", "-c", "echo here > /tmp/file"]);
       vm.close();
       print(vm.id);`,
    );
    await once(child, "close");
    expect(child.exitCode).toBe(0);
    const [found] = await Vm.list();
    expect(found).toMatchObject({ id, name: "web", hypervisor, detached: true });
    const pid = found?.pid ?? 0;
    expect(isRunning(pid)).toBe(true);
    {
      await using vm = await Vm.connect("web");
      expect(await vm.health()).toMatchObject({ status: "running", answering: true });
      const { stdout } = await vm.exec(["sh", "-c", "cat /tmp/file; echo $COLOUR"]);
      expect(stdout).toBe("here\nblue\n");
    }
    expect(isRunning(pid)).toBe(true);
    await using first = await Vm.connect(id.slice(0, 10));
    await using second = await Vm.connect(id);
    const both = await Promise.all([first, second].map((vm) => vm.exec(["cat", "/tmp/file"])));
    expect(both.map(({ stdout }) => stdout)).toEqual(["here\n", "here\n"]);
    const [exit, seen] = await Promise.all([first.stop(), second.exited]);
    expect(exit.reason).toBe("shutdown");
    expect(seen).toEqual(exit);
    expect(await leftBehind()).toEqual([]);
    expect(await eventually(() => !isRunning(pid), 2000)).toBe(true);
    await expect(Vm.connect("web")).rejects.toMatchObject({ code: "ERR_VM_NOT_FOUND" });
  });

  test("has a name that no other gets, and that is free afterwards", async () => {
    const vm = await start({ detached: true, name: "web" });
    await expect(start({ name: "web" })).rejects.toMatchObject({ code: "ERR_VM_NAME_TAKEN" });
    await expect(start({ name: "web", isolation: "inline" })).rejects.toMatchObject({
      code: "ERR_VM_NAME_TAKEN",
    });
    await vm.kill();
    await using again = await start({ name: "web", isolation: "inline" });
    await using other = await Vm.connect("web");
    expect((await other.exec(["hostname"])).stdout).toBe("demo\n");
    expect((await again.stop()).reason).toBe("shutdown");
  });

  test("is gone at once when its process is killed, and so is what it left", async () => {
    const vm = await start({ detached: true });
    const others = [vm.description.pid, ...descendants(vm.description.pid)];
    const running = expect(vm.exec(["sleep", "1000"])).rejects.toMatchObject({
      code: "ERR_AGENT_GONE",
    });
    process.kill(vm.description.pid, "SIGKILL");
    expect((await vm.exited).reason).toBe("hypervisor-error");
    await running;
    await expect(vm.pause()).rejects.toMatchObject({ code: "ERR_VM_STOPPED" });
    expect(await eventually(() => !others.some(isRunning), 1000)).toBe(true);
    expect(await Vm.list()).toEqual([]);
  });

  test("is shut down in order when its process is told to end", async () => {
    const vm = await start({ detached: true });
    process.kill(vm.description.pid, "SIGTERM");
    expect(await vm.exited).toMatchObject({ reason: "shutdown", message: "the guest shut down" });
  });

  test("whose process hangs does not make others hang, and can be killed", async () => {
    const vm = await start({ detached: true, name: "stuck" });
    process.kill(vm.description.pid, "SIGSTOP");
    await expect(vm.status()).rejects.toMatchObject({ code: "ERR_VM_TIMEOUT" });
    await expect(Vm.connect("stuck")).rejects.toMatchObject({ code: "ERR_VM_TIMEOUT" });
    expect((await vm.kill()).reason).toBe("hypervisor-error");
    expect(await Vm.list()).toEqual([]);
  });
});

describe.each(["process", "thread", "inline"] as const)(
  `a machine on ${hypervisor} (%s)`,
  (isolation) => {
    test("pauses and goes on, with the right time, and says so", async () => {
      await using vm = await start({ isolation });
      const counter = vm.exec([
        "sh",
        "-c",
        "for i in 0 1 2 3 4 5 6 7 8 9; do sleep 0.05; date +%s; done",
      ]);
      await sleep(150);
      await vm.pause();
      await vm.pause();
      expect(await vm.status()).toBe("paused");
      expect(await vm.health()).toEqual({ status: "paused", answering: false });
      await sleep(1000);
      await vm.resume();
      expect(await vm.health()).toMatchObject({ status: "running", answering: true });
      const times = (await counter).stdout.trim().split("\n").map(Number);
      expect(times).toHaveLength(10);
      const now = (await vm.exec(["date", "+%s"])).stdout;
      expect(Math.abs(Number(now) - Date.now() / 1000)).toBeLessThan(2);
      await vm.pause();
      const exit = vm.stop();
      const events: string[] = [];
      for await (const { type } of vm.events()) events.push(type);
      expect(events).toEqual(["started", "paused", "resumed", "paused", "resumed", "exited"]);
      expect((await exit).reason).toBe("shutdown");
    });

    test("has logs that are read from a cursor on, and followed to their end", async () => {
      await using vm = await start({ isolation });
      await vm.exec(["sh", "-c", "echo first > /dev/console"]);
      await expect.poll(() => textOf(vm.logs())).toContain("first");
      let cursor = 0;
      for await (const entry of vm.logs()) cursor = entry.cursor;
      const followed = textOf(vm.logs({ since: cursor, follow: true, source: "console" }));
      await vm.exec(["sh", "-c", "echo second > /dev/console"]);
      await vm.stop();
      expect(await followed).toContain("second");
      expect(await followed).not.toContain("first");
    });

    test("with a command of its own prints to its log and ends with it", async () => {
      const script = "echo out; echo err >&2; echo $0 $COLOUR; pwd; sleep 0.2; exit 3";
      const argv = ["sh", "-c", script, "zero"];
      const command = { argv, cwd: "/tmp" };
      const vm = await start({ isolation, command, env: { COLOUR: "blue" } });
      const [stdout, stderr, exit] = await Promise.all([
        textOf(vm.logs({ follow: true, source: "stdout" })),
        textOf(vm.logs({ follow: true, source: "stderr" })),
        vm.exited,
      ]);
      expect(stdout).toBe("out\nzero blue\n/tmp\n");
      expect(stderr).toBe("err\n");
      expect(exit.command).toMatchObject({ code: 3, signal: null, timedOut: false });
      expect(exit.message).toContain("status 3");
    });

    test("whose command cannot be started is not started", async () => {
      const started = start({ isolation, command: { argv: ["no-such-program"] } });
      await expect(started).rejects.toMatchObject({ code: "ERR_EXEC_NOT_FOUND" });
      await expect(start({ isolation, command: { argv: [] } })).rejects.toMatchObject({
        code: "ERR_OPTION",
      });
    });

    test("stops in time although a process in it will not end", async () => {
      const vm = await start({ isolation });
      const stubborn = vm.exec(["sh", "-c", "trap '' TERM; echo; while :; do sleep 0.1; done"]);
      stubborn.catch(() => {});
      await sleep(300);
      const before = performance.now();
      expect((await vm.stop({ timeoutMs: 500 })).reason).toBe("shutdown");
      expect(performance.now() - before).toBeLessThan(4000);
    });
  },
);

test("a machine that runs is told from one that answers", async () => {
  const vm = await start({ detached: true });
  // The guest as a whole, without the process that serves it knowing.
  const guest = hypervisor === "qemu" ? descendants(vm.description.pid).at(-1) : undefined;
  if (guest !== undefined) {
    process.kill(guest, "SIGSTOP");
    expect(await vm.health({ timeoutMs: 300 })).toEqual({ status: "running", answering: false });
    process.kill(guest, "SIGCONT");
    await expect.poll(() => vm.health()).toMatchObject({ answering: true });
    const events: string[] = [];
    const recent = AbortSignal.timeout(300);
    for await (const { type } of vm.events({ signal: recent })) events.push(type);
    expect(events).toEqual(["started", "not-answering", "answering"]);
  }
  await vm.kill();
});

test("a machine's process survives what is sent to its sockets", async () => {
  await using vm = await start();
  const [directory = ""] = (await leftBehind()).filter((name) => name.includes(vm.id));
  for (const socket of ["control", "vsock"]) {
    for (const bytes of ["\0\0\0\0", "{}\n", "CONNECT 99999999999\n", "x".repeat(2 << 20)]) {
      const client = connect(join(runtime, "supermachine", directory, socket));
      client.on("error", () => {}).resume();
      client.end(bytes);
      await new Promise((resolve) => client.once("close", resolve));
    }
  }
  expect((await vm.exec(["echo", "well"])).stdout).toBe("well\n");
});

test("a machine's process has given up what it does not need", async () => {
  await using vm = await start();
  const status = await readFile(`/proc/${vm.description.pid}/status`, "utf8");
  expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
});

test("a detached machine is not inline, and a name is checked before anything starts", async () => {
  const refused = { code: "ERR_OPTION" };
  await expect(start({ detached: true, isolation: "inline" })).rejects.toMatchObject(refused);
  await expect(start({ name: "../web" })).rejects.toMatchObject(refused);
});
