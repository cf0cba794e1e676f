import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ImageStore, Vm } from "supermachine";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { hypervisor } from "./hypervisor.js";
import { demoStore } from "./images.js";
import { descendants, eventually } from "./processes.js";

let stores: Awaited<ReturnType<typeof demoStore>>;
let store: ImageStore;
let directory = "";

beforeAll(async () => {
  stores = await demoStore();
  store = stores.store;
});
afterAll(() => stores[Symbol.asyncDispose]());
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "supermachine-thread-"));
  vi.stubEnv("XDG_RUNTIME_DIR", directory);
});
afterEach(async () => {
  expect(await eventually(() => descendants(process.pid).length === 0, 2000)).toBe(true);
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

const leftBehind = () => readdir(join(directory, "supermachine"));

test(`a machine on ${hypervisor} in a thread is served while its owner is busy`, async () => {
  const mounts = [{ host: directory, guest: "/share" }];
  const options = { image: "demo", store, hypervisor, memoryMiB: 128, mounts } as const;
  await using vm = await Vm.start({ ...options, isolation: "thread" });
  expect(vm.description).toMatchObject({ pid: process.pid, threadId: expect.any(Number) });
  vm.exec(["sh", "-c", "while :; do echo >> /share/ticks; sleep 0.02; done"]).catch(() => {});
  const ticks = () => readFileSync(join(directory, "ticks")).length;
  await expect.poll(ticks).toBeGreaterThan(0);
  const before = ticks();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
  expect(ticks()).toBeGreaterThan(before + 4);
  await using other = await Vm.connect(vm.id);
  expect((await other.exec(["echo", "found"])).stdout).toBe("found\n");
});

/** Waits in every machine's thread for a file that says what is to happen to it. */
const FAULTS = `
  const { workerData } = require("node:worker_threads");
  const { existsSync } = require("node:fs");
  if (workerData?.released !== undefined) {
    const timer = setInterval(() => {
      if (existsSync("hang")) for (;;);
      if (!existsSync("crash")) return;
      clearInterval(timer);
      throw new Error("a defect");
    }, 20);
    timer.unref();
  }`;

/** A process that runs \`script\` with a machine \`vm\` in a thread of it, which is subject to {@link FAULTS}. */
async function owner(script: string): Promise<{ child: ChildProcess; output: Promise<string> }> {
  const program = `
    import { readdirSync, rmSync, writeFileSync } from "node:fs";
    import { ImageStore, Vm } from ${JSON.stringify(import.meta.resolve("supermachine"))};
    const store = new ImageStore(${JSON.stringify(store.directory)});
    const options = { image: "demo", store, hypervisor: "${hypervisor}", memoryMiB: 128 };
    const start = () => Vm.start({ ...options, cpus: 2, isolation: "thread" });
    const print = (value) => process.stdout.write(JSON.stringify(value) + "\\n");
    const descriptors = () => readdirSync("/proc/self/fd").length;
    await (await start()).stop();
    const before = descriptors();
    const vm = await start();
    ${script}`;
  const preload = join(directory, "faults.cjs");
  await writeFile(preload, FAULTS);
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    cwd: directory,
    env: { ...process.env, NODE_OPTIONS: `--require ${preload}` },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  return { child, output: once(child, "close").then(() => text) };
}

describe(`the thread of a machine on ${hypervisor}`, () => {
  test("that fails ends its machine, not its owner, and releases everything", async () => {
    const { child, output } = await owner(`
      const running = vm.exec(["sleep", "1000"]).catch(({ code }) => code);
      writeFileSync("crash", "");
      const { reason, message } = await vm.exited;
      print([reason, message.split("\\n")[0], await running, descriptors() - before]);
      rmSync("crash");
      const next = await start();
      print((await next.exec(["echo", "well"])).stdout);
      await next.stop();`);
    const [failed = "", next = ""] = (await output).split("\n");
    const message = "the machine's thread ended: Error: a defect";
    expect(JSON.parse(failed)).toEqual(["hypervisor-error", message, "ERR_AGENT_GONE", 0]);
    expect(JSON.parse(next)).toBe("well\n");
    expect(child.exitCode).toBe(0);
    expect(await leftBehind()).toEqual([]);
  });

  test("that hangs makes nobody wait for ever, and ends with its process", async () => {
    const { child, output } = await owner(`
      writeFileSync("hang", "");
      await new Promise((resolve) => setTimeout(resolve, 200));
      const other = await Vm.connect(vm.id).catch(({ code }) => code);
      const { reason, message } = await vm.kill();
      print([other, reason, message]);`);
    const message = "the machine's thread does not answer; it and its guest end with this process";
    expect(JSON.parse(await output)).toEqual(["ERR_VM_TIMEOUT", "hypervisor-error", message]);
    expect(child.exitCode).toBe(0);
  });

  test("ends with its process, which exits with its own status and leaves nothing", async () => {
    const { child, output } = await owner(`print("up"); process.exit(7);`);
    await output;
    expect(child.exitCode).toBe(7);
    expect(await leftBehind()).toEqual([]);
  });

  test("does not keep its process from exiting when it hangs", async () => {
    const { child, output } = await owner(`
      writeFileSync("hang", "");
      setTimeout(() => { print(Date.now()); process.exit(7); }, 200);`);
    const at = Number(await output);
    expect(Date.now() - at).toBeLessThan(6000);
    expect(child.exitCode).toBe(7);
  });
});

test("a start in a thread that is given up leaves nothing", async () => {
  const abort = new AbortController();
  const options = { image: "demo", store, hypervisor, memoryMiB: 128 } as const;
  const started = Vm.start({ ...options, isolation: "thread", signal: abort.signal });
  await sleep(300);
  abort.abort(new Error("enough"));
  await expect(started).rejects.toThrow("enough");
  expect(await leftBehind()).toEqual([]);
});
