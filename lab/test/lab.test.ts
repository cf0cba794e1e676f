import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { requireFacility } from "@supermachine-internal/testing";
import { expect } from "vitest";

const LAB = fileURLToPath(new URL("../lab.mjs", import.meta.url));
const { test } = requireFacility("linux", "x86-64", "root", "program:qemu-system-x86_64");

interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

function start(
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): { child: ChildProcess; result: Promise<Result> } {
  const child = spawn(process.execPath, [LAB, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, ...environment },
  });
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output.stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    output.stderr += text;
  });
  const result = new Promise<Result>((resolve) =>
    child.once("close", (status) => resolve({ status, ...output })),
  );
  return { child, result };
}

/** Processes below `pid`, found by their parent's number in /proc/PID/stat. */
function childrenOf(pid: number): number[] {
  const numbers = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return numbers.map(Number).filter((candidate) => {
    try {
      const stat = readFileSync(`/proc/${candidate}/stat`, "utf8");
      return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === pid;
    } catch {
      return false; // ended meanwhile
    }
  });
}

function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) !== "Z";
  } catch {
    return false;
  }
}

test("arguments, output streams and the status pass unchanged, and /dev/kvm is there", async () => {
  const words = ["a b", "it's", '$HOME "x"', "*", ""];
  const script =
    'test -c /dev/kvm || exit 1; printf "[%s]" "$@"; echo to stderr >&2; kill -TERM $$';
  const { status, stdout, stderr } = await start(["sh", "-c", script, "sh", ...words]).result;
  expect({ stdout, stderr }).toEqual({
    stdout: words.map((word) => `[${word}]`).join(""),
    stderr: "to stderr\n",
  });
  expect(status).toBe(128 + 15);
}, 120_000);

test("standard input arrives to its end, --out keeps its files, anything else is thrown away", async () => {
  const out = mkdtempSync(join(tmpdir(), "lab-out-"));
  const stray = join(tmpdir(), `lab-stray-${process.pid}`);
  try {
    const script = `wc -c >"$SUPERMACHINE_LAB_OUT/count"; echo stray >${stray}`;
    const { child, result } = start(["--stdin", "--out", out, "sh", "-c", script]);
    child.stdin?.end(Buffer.alloc(3_000_000, "x"));
    expect(await result).toEqual({ status: 0, stdout: "", stderr: "" });
    expect(readFileSync(join(out, "count"), "utf8").trim()).toBe("3000000");
    expect(existsSync(stray)).toBe(false);
  } finally {
    rmSync(out, { recursive: true });
  }
}, 120_000);

test("SIGKILL takes the whole machine along and leaves no file", async () => {
  const temporary = mkdtempSync(join(tmpdir(), "lab-tmp-"));
  try {
    const { child, result } = start(["sh", "-c", "echo up; sleep 1000"], { TMPDIR: temporary });
    await new Promise((resolve) => child.stdout?.once("data", resolve));
    const machine = childrenOf(child.pid ?? 0);
    expect(machine).toHaveLength(2); // QEMU and virtiofsd
    child.kill("SIGKILL");
    await result;
    const deadline = Date.now() + 5000;
    while (machine.some(isRunning) && Date.now() < deadline) await sleep(20);
    expect(machine.filter(isRunning)).toEqual([]);
    expect(readdirSync(temporary)).toEqual([]);
  } finally {
    rmSync(temporary, { recursive: true });
  }
}, 120_000);

test("--timeout ends a command that does not, with status 124", async () => {
  const { status, stderr } = await start(["--timeout", "2", "sleep", "1000"]).result;
  expect(stderr).toBe("lab: ended after 2 s (--timeout)\n");
  expect(status).toBe(124);
}, 60_000);
