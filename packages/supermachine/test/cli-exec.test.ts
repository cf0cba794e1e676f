import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { requireFacility } from "@supermachine-internal/testing";
import { Vm } from "supermachine";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { hypervisor } from "./hypervisor.js";
import { demoStore } from "./images.js";

const CLI = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
const { describe: describeTerminal } = requireFacility("program:script");

let stores: Awaited<ReturnType<typeof demoStore>>;
let runtime = "";
let vm: Vm;
beforeAll(async () => {
  stores = await demoStore();
  runtime = await mkdtemp(join(tmpdir(), "supermachine-runtime-"));
  vi.stubEnv("XDG_RUNTIME_DIR", runtime);
  vm = await Vm.start({
    image: "demo",
    store: stores.store,
    hypervisor,
    name: "box",
    env: { COLOUR: "blue" },
  });
});
afterAll(async () => {
  await vm.stop();
  vi.unstubAllEnvs();
  await stores[Symbol.asyncDispose]();
  await rm(runtime, { recursive: true });
});

const launch = (...args: string[]) => spawn(process.execPath, [CLI, "exec", ...args]);

/** The command on a terminal of its own, whose size `stty` can change from outside. */
function onTerminal(script: string): ChildProcess {
  return spawn("script", [
    "-qec",
    script.replaceAll("EXEC", `'${process.execPath}' '${CLI}' exec`),
    "/dev/null",
  ]);
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
  if (input !== undefined) child.stdin?.end(input);
  const [code] = await once(child, "close");
  return { code, stdout, stderr };
}

const exec = (...args: string[]) => outcome(launch(...args), "");

describe("supermachine exec", () => {
  test("runs a command with environment, directory and user, and has its status", async () => {
    const result = await exec(
      ...["-e", "SIZE=big", "--workdir", "/tmp", "--user", "7:8", "box", "--"],
      ...["sh", "-c", "echo $COLOUR $SIZE; pwd; id -u; echo no >&2; exit 3"],
    );
    expect(result).toEqual({ code: 3, stdout: "blue big\n/tmp\n7\n", stderr: "no\n" });
  });

  test("finds the machine by the first digits of its id", async () => {
    const { code, stdout } = await exec(vm.id.slice(0, 6), "hostname");
    expect({ code, stdout }).toEqual({ code: 0, stdout: "demo\n" });
  });

  test("passes standard input on with -i, and only then", async () => {
    expect((await outcome(launch("-i", "box", "cat"), "through")).stdout).toBe("through");
    expect((await outcome(launch("box", "cat"), "ignored")).stdout).toBe("");
  });

  test.each([
    [127, ["box", "no-such-program"]],
    [126, ["box", "/etc/passwd"]],
    [125, ["no-such-machine", "true"]],
    [125, ["box"]],
    [125, ["--user", "nobody-knows-me", "box", "true"]],
    [125, ["--env", "=x", "box", "true"]],
    [124, ["--timeout", "300", "box", "sleep", "1000"]],
    [137, ["box", "sh", "-c", "kill -9 $$"]],
  ])("has status %i for %j", async (code, args) => {
    const result = await exec(...args);
    expect(result.code).toBe(code);
    if (code < 128 && code !== 124)
      expect(result.stderr.trim()).toMatch(/^(supermachine|error): \S/);
  });

  test("passes signals on, and its end ends the command", async () => {
    const polite = launch(
      "box",
      "sh",
      "-c",
      "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done",
    );
    await once(polite.stdout, "data");
    polite.kill("SIGTERM");
    expect((await outcome(polite)).code).toBe(9);
    const killed = launch("box", "sh", "-c", "echo ready; exec sleep 7654");
    await once(killed.stdout, "data");
    killed.kill("SIGKILL");
    await expect
      .poll(async () => (await vm.exec(["sh", "-c", "ps | grep -c 'sleep 765[4]'"])).stdout)
      .toBe("0\n");
  });
});

describeTerminal("supermachine exec -it", () => {
  test("is a shell on a terminal of the caller's size and kind", async () => {
    const shell = onTerminal("stty rows 33 cols 90; TERM=vt100 EXEC -it box sh");
    const result = outcome(shell);
    await sleep(1500);
    shell.stdin?.write("stty size; echo $TERM; tty; exit 5\n");
    const { code, stdout } = await result;
    expect(stdout).toContain("33 90\r\nvt100\r\n/dev/pts/");
    expect(code).toBe(5);
  });

  test("hands Ctrl-C on as a key, and leaves the terminal as it was", async () => {
    const child = onTerminal(
      'before=$(stty -g); EXEC -it box sh -c \'trap "echo caught; exit 6" INT; echo ready; sleep 100 & wait\'; echo status $?; test "$before" = "$(stty -g)" && echo restored',
    );
    const result = outcome(child);
    await expect
      .poll(async () => (await vm.exec(["sh", "-c", "ps | grep -c 'sleep 10[0]'"])).stdout, {
        timeout: 5000,
      })
      .not.toBe("0\n");
    await sleep(300);
    child.stdin?.write("\x03");
    const { stdout } = await result;
    expect(stdout).toMatch(/caught\r\nstatus 6\r\nrestored/);
  });

  test("tells the command that the terminal has another size", async () => {
    const child = onTerminal(
      "stty rows 20 cols 80; (sleep 3; stty rows 41 cols 111 < /dev/tty) & EXEC -it box sh -c 'trap \"stty size; exit 0\" WINCH; while :; do sleep 0.1; done'",
    );
    expect((await outcome(child)).stdout).toContain("41 111");
  });
});
