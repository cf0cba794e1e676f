import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hypervisor } from "./hypervisor.js";
import { cachedImage } from "./images.js";
import { descendants, eventually, isRunning } from "./processes.js";

const CLI = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
let home = "";
let runtime = "";

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "supermachine-home-"));
  runtime = join(home, "run");
  expect(
    await supermachine("image", "import", await cachedImage("demo-"), "--name", "demo"),
  ).toMatchObject({
    code: 0,
  });
});
afterAll(() => rm(home, { recursive: true }));

function launch(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [CLI, ...args], {
    env: { ...process.env, SUPERMACHINE_HOME: join(home, "store"), XDG_RUNTIME_DIR: runtime },
  });
}

async function outcome(child: ChildProcess, input?: string) {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin?.end(input);
  const [code, signal] = await once(child, "close");
  return { code, signal, stdout, stderr };
}

const supermachine = (...args: string[]) => outcome(launch(args));
const run = (...args: string[]) => supermachine("run", "--hypervisor", hypervisor, ...args);

/** Runs a command in a guest and waits until it has printed "ready". */
async function runUntilReady(script: string, ...flags: string[]) {
  const child = launch(["run", "--hypervisor", hypervisor, ...flags, "demo", "sh", "-c", script]);
  let printed = "";
  await new Promise<void>((resolve, reject) => {
    child.once("close", () => reject(new Error(`ended early: ${printed}`)));
    child.stdout?.on("data", (bytes: Buffer) => {
      printed += bytes.toString();
      if (printed.includes("ready")) resolve();
    });
    child.stderr?.on("data", (bytes: Buffer) => {
      printed += bytes.toString();
    });
  });
  return child;
}

const leftBehind = () => readdir(join(runtime, "supermachine")).catch(() => []);

describe(`supermachine run on ${hypervisor}`, () => {
  test("the README's first line prints the guest's system and exits with its status", async () => {
    const result = await run("demo", "--", "sh", "-c", "uname -a; cat /etc/os-release; exit 7");
    expect(result.code).toBe(7);
    expect(result.stdout).toMatch(/^Linux demo 6\.1\./);
    expect(result.stdout).toContain("NAME=");
  });

  test("options reach the guest", async () => {
    const share = join(home, "share");
    await mkdir(share);
    await chmod(share, 0o755);
    await writeFile(join(share, "file"), "shared\n");
    const result = await run(
      ...["--memory", "128", "--cpus", "2", "--mount", `${share}:/in:ro`, "--env", "A=b c"],
      ...["--workdir", "/in", "--user", "1:1", "--rm", "demo"],
      ...["sh", "-c", "nproc; cat file; echo $A; id -u; pwd"],
    );
    expect(result.stdout).toBe("2\nshared\nb c\n1\n/in\n");
  });

  test("standard input reaches the command with -i, and only then", async () => {
    const flags = ["run", "--hypervisor", hypervisor];
    const piped = await outcome(launch([...flags, "-i", "demo", "cat"]), "through\n");
    expect(piped).toMatchObject({ code: 0, stdout: "through\n" });
    const closed = await outcome(launch([...flags, "demo", "cat"]), "ignored\n");
    expect(closed).toMatchObject({ code: 0, stdout: "" });
  });

  test("a command on a terminal sees one", async () => {
    const result = await run("-t", "demo", "sh", "-c", "test -t 1 && tty");
    expect(result).toMatchObject({ code: 0 });
    expect(result.stdout).toContain("/dev/pts/0");
  });

  test.each([
    [127, ["demo", "no-such-program"]],
    [126, ["demo", "/etc/passwd"]],
    [125, ["no-such-image", "true"]],
    [125, ["--no-such-flag", "demo", "true"]],
    [125, ["--mount", "nonsense", "demo", "true"]],
    [125, ["--mount", "/no/such/directory:/in", "demo", "true"]],
    [124, ["--timeout", "200", "demo", "sleep", "1000"]],
    [137, ["demo", "sh", "-c", "kill -9 $$"]],
  ])("status %i for %j", async (code, args) => {
    const result = await run(...args);
    expect(result.code).toBe(code);
    // One line, after which nothing is left to clean up; a time-out and a signal say enough by their status.
    if (code < 128 && code !== 124)
      expect(result.stderr.trim()).toMatch(/^(supermachine|error): \S/);
    expect(await leftBehind()).toEqual([]);
  });

  test("a signal is passed on, and the command may handle it", async () => {
    const child = await runUntilReady(
      "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.1; done",
    );
    const result = outcome(child);
    child.kill("SIGTERM");
    expect(await result).toMatchObject({ code: 9 });
  });

  test("Ctrl-C leaves nothing behind, even when the command ignores it", async () => {
    const child = await runUntilReady("trap '' INT; echo ready; while :; do sleep 0.1; done");
    const others = descendants(child.pid ?? 0);
    const ended = once(child, "close");
    for (let i = 0; i < 3; i++) {
      child.kill("SIGINT");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await ended;
    expect(others.filter(isRunning)).toEqual([]);
    expect(await leftBehind()).toEqual([]);
  });

  test("a killed command takes its machine with it", async () => {
    const child = await runUntilReady("echo ready; sleep 1000");
    const others = descendants(child.pid ?? 0);
    child.kill("SIGKILL");
    expect(await eventually(() => !others.some(isRunning), 1000)).toBe(true);
    // Sockets of a killed machine go with the next one.
    expect((await run("demo", "true")).code).toBe(0);
    expect(await leftBehind()).toEqual([]);
  });
});

describe("supermachine image", () => {
  test("lists, removes, and no longer runs what was removed", async () => {
    await supermachine("image", "import", await cachedImage("demo-"), "--name", "other");
    expect((await supermachine("image", "ls")).stdout).toMatch(/^other\s+sha256:/m);
    expect((await supermachine("image", "rm", "other")).code).toBe(0);
    expect((await supermachine("image", "ls")).stdout).not.toContain("other");
    const gone = await run("other", "true");
    expect(gone.code).toBe(125);
    expect(gone.stderr).toContain("other");
  });

  test("an import of something that is no image says so in one line", async () => {
    const result = await supermachine("image", "import", "/etc/passwd");
    expect(result.code).toBe(125);
    expect(result.stderr).toMatch(/^supermachine: .+\n$/);
  });
});

test("doctor says what runs guests here and what auto picks", async () => {
  const result = await supermachine("doctor");
  expect(result.code).toBe(0);
  expect(result.stdout).toMatch(/^(yes|no ) {2}kvm /m);
  expect(result.stdout).toMatch(/^yes {2}qemu .*QEMU \d/m);
  expect(result.stdout).toContain(`picks ${hypervisor}`);
});
