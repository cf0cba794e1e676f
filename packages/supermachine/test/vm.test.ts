import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ImageStore, Vm, type VmOptions } from "supermachine";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hypervisor } from "./hypervisor.js";
import { demoStore } from "./images.js";
import { descendants, eventually } from "./processes.js";

let stores: Awaited<ReturnType<typeof demoStore>>;
let store: ImageStore;
let share = "";

beforeAll(async () => {
  stores = await demoStore();
  store = stores.store;
  share = await mkdtemp(join(tmpdir(), "supermachine-share-"));
  await writeFile(join(share, "a.txt"), "one\ntwo\n");
  await writeFile(join(share, "b.txt"), "three\n");
});
afterAll(async () => {
  await stores[Symbol.asyncDispose]();
  await rm(share, { recursive: true });
});

const start = (options: Partial<VmOptions> = {}) =>
  Vm.start({ image: "demo", store, hypervisor, ...options });

describe(`a machine on ${hypervisor}`, () => {
  let vm: Vm;
  beforeAll(async () => {
    vm = await start({
      cpus: 2,
      mounts: [
        { host: share, guest: "/src" },
        { host: share, guest: "/mnt/read only", readOnly: true },
      ],
      env: { COLOUR: "blue" },
      hostname: "box",
    });
  });
  afterAll(() => vm.stop());

  test("exec returns what a command printed and how it ended", async () => {
    const result = await vm.exec(["sh", "-c", "echo out; echo err >&2; exit 3"]);
    expect(result).toMatchObject({
      code: 3,
      signal: null,
      stdout: "out\n",
      stderr: "err\n",
      timedOut: false,
    });
    expect(result.peakRssKiB).toBeGreaterThan(0);
  });

  test("the example of the README counts the lines of a mounted directory", async () => {
    const result = await vm.exec(["sh", "-c", "wc -l /src/*"], { timeoutMs: 60_000 });
    expect(result.stdout).toBe("        2 /src/a.txt\n        1 /src/b.txt\n        3 total\n");
  });

  test("what the guest writes to a share is on the host", async () => {
    await vm.exec(["sh", "-c", "echo hello > /src/new; mkdir /src/dir; ln -s new /src/dir/link"]);
    expect(await readFile(join(share, "new"), "utf8")).toBe("hello\n");
    expect(await readdir(join(share, "dir"))).toEqual(["link"]);
    await vm.exec(["rm", "-r", "/src/new", "/src/dir"]);
    expect(await readdir(share)).toEqual(["a.txt", "b.txt"]);
  });

  test("a read-only share refuses changes", async () => {
    const result = await vm.exec(["touch", "/mnt/read only/x"]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("Read-only file system");
  });

  test("a command gets its environment, directory, user and input", async () => {
    const result = await vm.exec(["sh", "-c", "id -u; pwd; echo $COLOUR $SIZE; cat"], {
      env: { SIZE: "big" },
      cwd: "/tmp",
      user: "1000:1000",
      input: "from the host",
    });
    expect(result.stdout).toBe("1000\n/tmp\nblue big\nfrom the host");
  });

  test("the guest has the CPUs, the host name and a writable root", async () => {
    const result = await vm.exec([
      "sh",
      "-c",
      "nproc; hostname; echo x > /etc/new && cat /etc/new",
    ]);
    expect(result).toMatchObject({ code: 0, stdout: "2\nbox\nx\n" });
  });

  test("a command that takes too long is ended with its children", async () => {
    const result = await vm.exec(["sh", "-c", "sleep 1000 & sleep 1000"], { timeoutMs: 300 });
    expect(result).toMatchObject({ code: null, signal: "SIGKILL", timedOut: true });
    expect((await vm.exec(["sh", "-c", "ps | grep -c '[s]leep'"])).stdout).toBe("0\n");
  });

  test("an aborted command is ended", async () => {
    const abort = new AbortController();
    const running = vm.exec(["sleep", "1000"], { signal: abort.signal });
    abort.abort();
    await expect(running).rejects.toMatchObject({ code: "ERR_EXEC_ABORTED" });
  });

  test.each([
    ["ERR_EXEC_NOT_FOUND", ["no-such-program"], {}],
    ["ERR_EXEC_NOT_EXECUTABLE", ["/etc/passwd"], {}],
    ["ERR_EXEC_UNKNOWN_USER", ["true"], { user: "nobody-knows-me" }],
    ["ERR_EXEC_CWD", ["true"], { cwd: "/etc/passwd" }],
  ])("%s says why a command did not start", async (code, argv, options) => {
    await expect(vm.exec(argv, options)).rejects.toMatchObject({ code });
  });

  test("many commands run at once", async () => {
    const runs = Array.from({ length: 32 }, (_, i) => vm.exec(["echo", `${i}`]));
    const outputs = (await Promise.all(runs)).map(({ stdout }) => Number(stdout));
    expect(outputs).toEqual(runs.map((_, i) => i));
  });

  test("output beyond the limit ends the command with an error", async () => {
    const running = vm.exec(["cat", "/dev/zero"], { maxOutputBytes: 100_000 });
    await expect(running).rejects.toMatchObject({ code: "ERR_EXEC_OUTPUT_LIMIT" });
  });

  test("megabytes pass through a command unchanged", async () => {
    const input = Buffer.alloc(3_000_000, "0123456789abcdef");
    const result = await vm.exec(["sh", "-c", "cat"], { input });
    expect(result.stdout === input.toString("latin1")).toBe(true);
  });
});

test("stopping leaves no process behind, and later commands say that the machine is gone", async () => {
  const vm = await start();
  expect(descendants(process.pid).length).toBeGreaterThan(0);
  const exit = await vm.stop();
  expect(exit.reason).toBe("shutdown");
  expect(await eventually(() => descendants(process.pid).length === 0, 2000)).toBe(true);
  await expect(vm.exec(["true"])).rejects.toMatchObject({ code: "ERR_AGENT_GONE" });
  expect(await vm.stop()).toEqual(exit);
});

test("killing the machine ends the commands that run in it", async () => {
  await using vm = await start({ isolation: "inline" });
  const running = vm.exec(["sleep", "1000"]);
  const rejected = expect(running).rejects.toMatchObject({ code: "ERR_AGENT_GONE" });
  await vm.exec(["true"]);
  expect((await vm.kill()).reason).toBe("stopped");
  await rejected;
});

test("two machines run beside each other", async () => {
  await using one = await start();
  await using two = await start();
  await one.exec(["sh", "-c", "echo one > /tmp/name"]);
  await two.exec(["sh", "-c", "echo two > /tmp/name"]);
  expect((await one.exec(["cat", "/tmp/name"])).stdout).toBe("one\n");
  expect((await two.exec(["cat", "/tmp/name"])).stdout).toBe("two\n");
});
