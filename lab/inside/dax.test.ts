import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { requireFacility } from "@supermachine-internal/testing";
import { afterAll, beforeAll, expect } from "vitest";

const { test, describe } = requireFacility("lab", "program:musl-gcc");

const MiB = 2 ** 20;
const HOOK_TIMEOUT_MS = 120_000;
/** Eight ranges of 2 MiB: what the tests use is more. */
const WINDOW_MIB = 16;

let share: string;
let shell: ChildProcessWithoutNullStreams;

/** Runs a script in the guest's shell; what it prints on both streams. */
async function guest(script: string): Promise<string> {
  const end = "-- end of the script --\n";
  shell.stdin.write(`{ ${script}\n} 2>&1; printf '%s\\n' '${end.trim()}'\n`);
  let printed = "";
  for await (const text of shell.stdout.iterator({ destroyOnReturn: false })) {
    printed += text;
    if (printed.endsWith(end)) return printed.slice(0, -end.length);
  }
  throw new Error(`the machine ended: ${printed}`);
}

const cachedKiB = async () => Number(await guest("awk '/^Cached/ { print $2 }' /proc/meminfo"));
const onHost = (name: string) => join(share, name);

describe("a share mounted with DAX on KVM", () => {
  beforeAll(async () => {
    share = mkdtempSync(join(tmpdir(), "dax-"));
    const source = fileURLToPath(new URL("mapper.c", import.meta.url));
    execFileSync("musl-gcc", ["-static", "-O1", "-o", onHost("mapper"), source]);
    const mount = { host: share, dax: true, daxWindowMiB: WINDOW_MIB };
    const mounts = [
      { ...mount, guest: "/share" },
      { ...mount, guest: "/read-only", readOnly: true },
    ];
    // A process of its own runs the built package, as a user does.
    const program = fileURLToPath(new URL("guest-shell.mjs", import.meta.url));
    const options = JSON.stringify({
      image: "demo",
      hypervisor: "kvm",
      bootTimeoutMs: 120_000,
      mounts,
    });
    shell = spawn(process.execPath, [program, options]);
    shell.stdout.setEncoding("utf8");
    shell.stderr.pipe(process.stderr);
  }, HOOK_TIMEOUT_MS);
  afterAll(async () => {
    shell.stdin.end("exit\n");
    await once(shell, "close");
    rmSync(share, { recursive: true });
  }, HOOK_TIMEOUT_MS);

  test("files are read in place: the guest keeps no copy of them", async () => {
    const bytes = Buffer.alloc(24 * MiB, "0123456789abcdef\n");
    writeFileSync(onHost("large"), bytes);
    const before = await cachedKiB();
    const sum = await guest("md5sum </share/large");
    expect(sum.split(" ")[0]).toBe(createHash("md5").update(bytes).digest("hex"));
    expect((await cachedKiB()) - before).toBeLessThan(1024);
  });

  test("memory mapped with MAP_SHARED is shared between guest and host", async () => {
    writeFileSync(onHost("file"), "hello world\n");
    await guest("/share/mapper store /share/file 6 earth");
    expect(readFileSync(onHost("file"), "utf8")).toBe("hello earth\n");
    writeFileSync(onHost("file"), "HELLO", { flag: "r+" });
    expect(await guest("/share/mapper load /share/file 0 12; cat /share/file")).toBe(
      "HELLO earth\n".repeat(2),
    );
  });

  test("what the guest appends and cuts off is seen through its mappings", async () => {
    writeFileSync(onHost("log"), "one\n");
    const script = [
      "cd /share; cat log; yes two | head -n 2000 >>log; mapper=/share/mapper",
      "$mapper load log 7996 4; $mapper store log 8000 TWO; tail -n 1 log",
      "truncate -s 6 log; echo >>log; cat log",
    ];
    expect(await guest(script.join("; "))).toBe("one\ntwo\nTWO\none\ntw\n");
    expect(readFileSync(onHost("log"), "utf8")).toBe("one\ntw\n");
  });

  test("a page that the host cuts off reads as zeros, and comes back with the file", async () => {
    writeFileSync(onHost("cut"), "a".repeat(3 * 4096));
    await guest(
      "mkfifo /tmp/ask /tmp/answer; /share/mapper watch /share/cut 8192 </tmp/ask >/tmp/answer & " +
        "exec 8>/tmp/ask 9</tmp/answer",
    );
    const look = () => guest("echo >&8; read byte <&9; echo $byte");
    expect(await look()).toBe("97\n");
    truncateSync(onHost("cut"), 10);
    expect(await look()).toBe("0\n");
    appendFileSync(onHost("cut"), "b".repeat(3 * 4096));
    let seen = "0\n";
    for (let tries = 0; seen === "0\n" && tries < 100; tries++) seen = await look();
    expect(seen).toBe("98\n");
    await guest("exec 8>&- 9<&-");
  });

  test("devices read from and write to what the guest has mapped", async () => {
    writeFileSync(onHost("source"), Buffer.alloc(10_000, "0123456789"));
    writeFileSync(onHost("target"), "already there\n");
    writeFileSync(onHost("sector"), Buffer.alloc(4096));
    const script = [
      "cd /share; ./mapper append source 10000 target && ./mapper direct sector 4096 /dev/vda",
      "head -c 4096 /dev/vda | md5sum",
    ];
    const sum = await guest(script.join("; "));
    expect(readFileSync(onHost("target"), "utf8")).toBe(
      `already there\n${"0123456789".repeat(1000)}`,
    );
    const sector = createHash("md5")
      .update(readFileSync(onHost("sector")))
      .digest("hex");
    expect(sum).toBe(`${sector}  -\n`);
  });

  test("more files than the window has room for are read and written", async () => {
    mkdirSync(onHost("many"));
    for (let n = 0; n < 20; n++) writeFileSync(onHost(`many/${n}`), `file ${n}\n`);
    const script = [
      "cd /share/many; cat 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19",
      "for n in *; do printf FILE | dd of=$n conv=notrunc 2>/dev/null; done",
    ];
    const lines = (word: string) => Array.from({ length: 20 }, (_, n) => `${word} ${n}\n`);
    expect(await guest(script.join("; "))).toBe(lines("file").join(""));
    const now = Array.from({ length: 20 }, (_, n) => readFileSync(onHost(`many/${n}`), "utf8"));
    expect(now).toEqual(lines("FILE"));
  });

  test("a read-only share can be mapped for reading, and for nothing else", async () => {
    writeFileSync(onHost("fixed"), "fixed\n");
    expect(await guest("/share/mapper load /read-only/fixed 0 6")).toBe("fixed\n");
    expect(await guest("/share/mapper store /read-only/fixed 0 X")).toContain("Read-only");
    expect(await guest("cat /read-only/fixed")).toBe("fixed\n");
  });
});
