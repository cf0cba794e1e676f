import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { TemporaryDirectory } from "@supermachine-internal/testing";
import { Vm } from "supermachine";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { hypervisor } from "./hypervisor.js";
import { demoStore } from "./images.js";

const CLI = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
const runtime = new TemporaryDirectory();
let stores: Awaited<ReturnType<typeof demoStore>>;
let vm: Vm;
let temporary: TemporaryDirectory;
let here: string;

beforeAll(async () => {
  vi.stubEnv("XDG_RUNTIME_DIR", runtime.path);
  stores = await demoStore();
  vm = await Vm.start({ image: "demo", store: stores.store, hypervisor, name: "box" });
});
afterAll(async () => {
  await vm.stop();
  vi.unstubAllEnvs();
  await stores[Symbol.asyncDispose]();
  runtime[Symbol.dispose]();
});
beforeEach(async () => {
  temporary = new TemporaryDirectory();
  here = temporary.path;
  await vm.files.remove("/srv", { recursive: true, force: true });
  await vm.files.mkdir("/srv");
});
afterEach(() => temporary[Symbol.dispose]());

function launch(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [CLI, "cp", ...args], { cwd: here, env: process.env });
}

async function cp(args: readonly string[], input?: Uint8Array) {
  const child = launch(args);
  const stdout: Buffer[] = [];
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin?.on("error", () => {});
  child.stdin?.end(input);
  const [code] = await once(child, "close");
  return { code, stdout: Buffer.concat(stdout), stderr };
}

const quiet = { code: 0, stdout: Buffer.alloc(0), stderr: "" };
const inGuest = async (script: string) => (await vm.exec(["sh", "-c", script])).stdout;

describe(`supermachine cp with a machine on ${hypervisor}`, () => {
  test("copies files and directories to the guest and back", async () => {
    mkdirSync(join(here, "tree/inner"), { recursive: true });
    writeFileSync(join(here, "tree/inner/file"), "x");
    expect(await cp(["tree", "box:/srv"])).toEqual(quiet);
    expect(await cp(["tree/.", "box:srv/new"])).toEqual(quiet);
    expect(await inGuest("cd /srv; find . -type f | sort")).toBe(
      "./new/inner/file\n./tree/inner/file\n",
    );
    expect(await cp(["box:/srv", "."])).toEqual(quiet);
    expect(readFileSync(join(here, "srv/tree/inner/file"), "utf8")).toBe("x");
    expect(await cp(["box:/srv/tree/.", "."])).toEqual(quiet);
    expect(existsSync(join(here, "inner/file"))).toBe(true);
  });

  test("gives files to root, or to whom they belong with -a", async () => {
    writeFileSync(join(here, "file"), "x");
    execFileSync("chown", ["1234:5678", join(here, "file")]);
    await cp(["file", "box:/srv/root"]);
    await cp(["-a", "file", "box:/srv/kept"]);
    expect(await inGuest("stat -c '%u:%g' /srv/root /srv/kept")).toBe("0:0\n1234:5678\n");
  });

  test("copies a symbolic link, or with -L what it names", async () => {
    writeFileSync(join(here, "file"), "x");
    symlinkSync("file", join(here, "link"));
    await cp(["link", "box:/srv/link"]);
    await cp(["-L", "link", "box:/srv/file"]);
    expect(await inGuest("readlink /srv/link; cat /srv/file")).toBe("file\nx");
  });

  test("takes and gives tar archives as -", async () => {
    mkdirSync(join(here, "tree"));
    writeFileSync(join(here, "tree/file"), "x");
    const archive = execFileSync("tar", ["-cf", "-", "-C", here, "tree"]);
    expect(await cp(["-", "box:/srv"], archive)).toEqual(quiet);
    expect(await inGuest("cat /srv/tree/file")).toBe("x");
    const { code, stdout } = await cp(["box:/srv/tree", "-"]);
    expect(code).toBe(0);
    const listed = execFileSync("tar", ["-tf", "-"], { input: stdout }).toString();
    expect(listed).toBe("tree/\ntree/file\n");
  });

  test.each([
    [["box:/none", "."], /cannot stat \/none: No such file or directory \(ENOENT\)/],
    [["none", "box:/srv"], /none: there is no such file/],
    [["box:/etc/hosts", "none/"], /none\/: no such directory/],
    [["one", "two"], /MACHINE:PATH/],
    [["box:/a", "box:/b"], /MACHINE:PATH/],
    [["box:/etc/hosts", "-", "--nonsense"], /unknown option/],
    [["no-such-machine:/etc/hosts", "."], /no-such-machine/],
  ])("%j ends with status 125 and one line that says why", async (args, message) => {
    const { code, stderr } = await cp(args);
    expect(code).toBe(125);
    expect(stderr).toMatch(message);
  });

  test("says what of a tree is not copied to the host", async () => {
    await inGuest("mkdir /srv/d; mknod /srv/d/null c 1 3; echo x > /srv/d/file");
    const { code, stderr } = await cp(["box:/srv/d", "."]);
    expect(code).toBe(0);
    expect(stderr).toBe("supermachine: d/null: a character-device is not copied to the host\n");
    expect(existsSync(join(here, "d/file"))).toBe(true);
  });

  test("leaves no process in the guest when it is killed", async () => {
    writeFileSync(join(here, "large"), Buffer.alloc(1_000_000));
    const archive = execFileSync("tar", ["-cf", "-", "-C", here, "large"]);
    const child = launch(["-", "box:/srv"]);
    const ended = once(child, "close");
    child.stdin?.on("error", () => {});
    child.stdin?.write(archive.subarray(0, 500_000));
    await expect.poll(() => vm.files.exists("/srv/large"), { timeout: 20_000 }).toBe(true);
    const unpacking = () => inGuest("ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c '/srv/large'");
    expect(await unpacking()).toBe("1\n");
    child.kill("SIGKILL");
    await ended;
    await expect.poll(unpacking, { timeout: 10_000 }).toBe("0\n");
  });
});
