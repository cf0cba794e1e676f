import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { requireFacility } from "@supermachine-internal/testing";
import { afterAll, beforeAll, expect } from "vitest";

// The built command, as a user runs it.
const CLI = fileURLToPath(new URL("../../packages/supermachine/dist/cli.js", import.meta.url));
const { test } = requireFacility("lab");

function run(...args: readonly string[]) {
  return runFrom(process.env["SUPERMACHINE_HOME"], ...args);
}

/** With the images of the store at `home`; by default the user's. */
function runFrom(home: string | undefined, ...args: readonly string[]) {
  const command = [CLI, "run", "--hypervisor", "kvm", ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, {
    encoding: "utf8",
    timeout: 240_000,
    env: { ...process.env, ...(home === undefined ? {} : { SUPERMACHINE_HOME: home }) },
  });
  return { status, stdout, stderr };
}

let share: string;
beforeAll(() => {
  share = mkdtempSync(join(tmpdir(), "share-"));
});
afterAll(() => rmSync(share, { recursive: true }));

test("a command in a microVM on KVM prints on both streams and hands back its status", () => {
  const script = "uname -s; cat /etc/os-release; echo oops >&2; exit 7";
  const { status, stdout, stderr } = run("demo", "--", "sh", "-c", script);
  expect(stdout).toMatch(/^Linux\nNAME="supermachine demo"\n/);
  expect(stderr).toBe("oops\n");
  expect(status).toBe(7);
});

test("a shared directory is read and written from both sides", () => {
  writeFileSync(join(share, "from-host"), "hello guest\n");
  const script = "cat /share/from-host; echo hello host >/share/from-guest";
  const result = run("--mount", `${share}:/share`, "demo", "--", "sh", "-c", script);
  expect(result).toEqual({ status: 0, stdout: "hello guest\n", stderr: "" });
  expect(readFileSync(join(share, "from-guest"), "utf8")).toBe("hello host\n");
});

test("two CPUs and the memory asked for are there", () => {
  const script = "nproc; awk '/MemTotal/ { print $2 }' /proc/meminfo";
  const { status, stdout } = run("-c", "2", "-m", "300", "demo", "--", "sh", "-c", script);
  expect(status).toBe(0);
  const [cpus, memoryKiB] = stdout.trim().split("\n").map(Number);
  expect(cpus).toBe(2);
  expect(memoryKiB).toBeGreaterThan(260 * 1024);
  expect(memoryKiB).toBeLessThanOrEqual(300 * 1024);
});

test("a Debian runs its package manager and a pipeline over a shared directory", () => {
  writeFileSync(join(share, "words"), "pear\napple\nquince\napple\n");
  const script = "apt-get --version | head -n 1; sort /share/words | uniq -c | tee /share/counted";
  // scripts/test.mjs imports the image outside, where that takes seconds.
  const store = process.env["SUPERMACHINE_LAB_STORE"];
  const options = ["--memory", "512", "--mount", `${share}:/share`];
  const result = runFrom(store, ...options, "debian", "--", "bash", "-c", script);
  expect(result.stderr).toBe("");
  expect(result.stdout).toMatch(/^apt \d.*\n {6}2 apple\n {6}1 pear\n {6}1 quince\n$/);
  expect(readFileSync(join(share, "counted"), "utf8")).toContain("2 apple");
});
