import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { hypervisor } from "./hypervisor.js";
import { cachedImage } from "./images.js";

const CLI = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
let home = "";
let runtime = "";

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "supermachine-home-"));
  runtime = join(home, "run");
  await supermachine("image", "import", await cachedImage("demo-"), "--name", "demo");
});
afterEach(async () => {
  const { stdout } = await supermachine("ps", "--quiet");
  const ids = stdout.split("\n").filter(Boolean);
  if (ids.length > 0) await supermachine("kill", ...ids);
  expect(await readdir(join(runtime, "supermachine")).catch(() => [])).toEqual([]);
});
afterAll(() => rm(home, { recursive: true }));

function launch(...args: string[]): ChildProcess {
  return spawn(process.execPath, [CLI, ...args], {
    env: { ...process.env, SUPERMACHINE_HOME: join(home, "store"), XDG_RUNTIME_DIR: runtime },
  });
}

async function outcome(child: ChildProcess) {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin?.end();
  const [code] = await once(child, "close");
  return { code, stdout, stderr };
}

const supermachine = (...args: string[]) => outcome(launch(...args));
const detach = (...args: string[]) =>
  supermachine("run", "-d", "--memory", "128", "--hypervisor", hypervisor, ...args);

describe(`supermachine run --detach on ${hypervisor}`, () => {
  test("prints the machine's name, which the other commands take", async () => {
    const script = "echo out; echo err >&2; while :; do sleep 1; done";
    const started = await detach("--name", "web", "--env", "A=b", "demo", "sh", "-c", script);
    expect(started).toMatchObject({ code: 0, stdout: "web\n" });

    const listed = (await supermachine("ps")).stdout.split("\n");
    expect(listed[0]).toMatch(/^MACHINE ID +IMAGE +COMMAND +CREATED +STATUS +NAME$/);
    expect(listed[1]).toMatch(/^[0-9a-f]{12} +demo +"sh -c .* ago +running +web$/);
    expect(listed).toHaveLength(3);
    const [described] = JSON.parse((await supermachine("ps", "--json")).stdout);
    expect(described).toMatchObject({ name: "web", status: "running", cpus: 1, memoryMiB: 128 });
    const [inspected] = JSON.parse((await supermachine("inspect", "web")).stdout);
    expect(inspected).toMatchObject({ id: described.id, answering: true, env: { A: "b" } });

    await expect
      .poll(() => supermachine("logs", "web"))
      .toMatchObject({ code: 0, stdout: "out\n", stderr: "err\n" });
    const both = await Promise.all(
      ["one", "two"].map((text) => supermachine("exec", "web", "sh", "-c", `echo ${text} $A`)),
    );
    expect(both.map(({ stdout }) => stdout)).toEqual(["one b\n", "two b\n"]);

    expect(await supermachine("pause", "web")).toMatchObject({ code: 0, stdout: "web\n" });
    expect((await supermachine("ps")).stdout).toMatch(/ paused +web$/m);
    expect((await supermachine("unpause", described.id.slice(0, 8))).code).toBe(0);

    const waiting = supermachine("wait", "web");
    const followed = supermachine("logs", "--follow", "--tail", "0", "web");
    await expect.poll(async () => (await supermachine("exec", "web", "true")).code).toBe(0);
    expect(await supermachine("stop", "web")).toMatchObject({ code: 0, stdout: "web\n" });
    expect(await followed).toMatchObject({ code: 0, stdout: "" });
    // The guest's processes were asked to end: 128 + SIGTERM, or killed with the guest.
    expect((await waiting).stdout).toMatch(/^(143|137)\n$/);
    expect((await supermachine("ps", "-q")).stdout).toBe("");
  });

  test("ends with its command, and tells its status to those who wait", async () => {
    const { stdout } = await detach("demo", "sh", "-c", "sleep 3; exit 5");
    const name = stdout.trim();
    expect(name).toMatch(/^[0-9a-f]{12}$/);
    expect(await supermachine("wait", name)).toMatchObject({ code: 0, stdout: "5\n" });
    const gone = await supermachine("logs", name);
    expect(gone.code).toBe(125);
    expect(gone.stderr).toContain(`no machine ${name} runs`);
  });

  test("says why it cannot, and leaves nothing", async () => {
    const missing = await detach("demo", "no-such-program");
    expect(missing.stderr).toContain("no-such-program");
    expect(missing.code).toBe(127);
    expect((await detach("-it", "demo", "sh")).stderr).toContain("exec -it");
    expect((await detach("--name", "-x", "demo", "true")).code).toBe(125);
  });

  test("shows the console, the last lines, and each line's time", async () => {
    await detach(
      "--name",
      "web",
      "demo",
      "sh",
      "-c",
      "seq 1 100; echo to-console > /dev/console; sleep 1000",
    );
    await expect
      .poll(async () => (await supermachine("logs", "--tail", "2", "web")).stdout)
      .toBe("99\n100\n");
    expect((await supermachine("logs", "--console", "web")).stdout).toContain("to-console");
    const { stdout } = await supermachine("logs", "-t", "--tail", "1", "web");
    expect(stdout).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z 100\n$/);
  });
});

test("a command for several machines does what it can, and fails if one fails", async () => {
  await detach("--name", "one", "demo", "sleep", "1000");
  const result = await supermachine("stop", "one", "two");
  expect(result).toMatchObject({ code: 125, stdout: "one\n" });
  expect(result.stderr).toContain("no machine two runs");
});

test("a machine in the foreground is found by its name", async () => {
  const flags = ["--hypervisor", hypervisor, "--name", "front", "demo"];
  const front = launch("run", ...flags, "sh", "-c", "echo up; sleep 1000");
  const ended = outcome(front);
  await once(front.stdout as NodeJS.ReadableStream, "data");
  expect((await supermachine("exec", "front", "hostname")).stdout).toBe("demo\n");
  expect((await supermachine("stop", "front")).code).toBe(0);
  expect((await ended).code).not.toBe(0);
});
