import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stdout } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EXEC_PORT, encodeFrame, FrameType } from "../src/frames.js";
import { type NativeAgent, startNativeAgent } from "./native-agent.js";

const sh = (script: string) => ["/bin/sh", "-c", script];

describe("the agent, as an ordinary process of this host", () => {
  let agent: NativeAgent;
  beforeAll(async () => {
    agent = await startNativeAgent();
  });
  afterAll(async () => {
    await agent.close();
  });

  it("returns output, exit code, peak memory and duration", async () => {
    const result = await agent.client.run({
      argv: sh("echo out; echo err >&2; sleep 0.05; exit 7"),
    });
    expect(result.stdout.toString()).toBe("out\n");
    expect(result.stderr.toString()).toBe("err\n");
    expect(result).toMatchObject({ code: 7, signal: null, timedOut: false });
    expect(result.peakRssKiB).toBeGreaterThan(300);
    expect(result.durationMs).toBeGreaterThan(45);
  });

  it("passes exactly the given environment, completed by PATH and HOME", async () => {
    const { stdout } = await agent.client.run({
      argv: ["env"],
      env: { A: "1 =\n2", PATH: "/usr/bin" },
    });
    expect(stdout.toString()).toBe("A=1 =\n2\nPATH=/usr/bin\nHOME=/root\n");
  });

  it("starts in the given directory", async () => {
    const { stdout } = await agent.client.run({ argv: ["/bin/pwd"], cwd: "/usr/lib" });
    expect(stdout.toString()).toBe("/usr/lib\n");
  });

  it("runs as a named user with all of the user's groups", async () => {
    const { stdout } = await agent.client.run({ argv: ["/usr/bin/id"], user: "daemon" });
    expect(stdout.toString()).toBe("uid=1(daemon) gid=1(daemon) groups=1(daemon)\n");
  });

  it("runs as ids that no file knows, and with a named group", async () => {
    const ids = await agent.client.run({ argv: ["/usr/bin/id"], user: "12345" });
    expect(ids.stdout.toString()).toBe("uid=12345 gid=0(root) groups=0(root)\n");
    const named = await agent.client.run({ argv: ["/usr/bin/id"], user: "12345:tty" });
    expect(named.stdout.toString()).toBe("uid=12345 gid=5(tty) groups=5(tty)\n");
  });

  it.each([
    [{ argv: ["no-such-program"] }, "ERR_EXEC_NOT_FOUND"],
    [{ argv: ["/no/such/program"] }, "ERR_EXEC_NOT_FOUND"],
    [{ argv: ["/etc/passwd"] }, "ERR_EXEC_NOT_EXECUTABLE"],
    [{ argv: ["/usr"] }, "ERR_EXEC_NOT_EXECUTABLE"],
    [{ argv: ["/bin/true"], user: "nobody-at-all" }, "ERR_EXEC_UNKNOWN_USER"],
    [{ argv: ["/bin/true"], user: "root:no-group" }, "ERR_EXEC_UNKNOWN_USER"],
    [{ argv: ["/bin/true"], cwd: "/no/where" }, "ERR_EXEC_CWD"],
  ])("says why %j cannot be started: %s", async (request, code) => {
    await expect(agent.client.run(request)).rejects.toMatchObject({ code });
  });

  it("names a missing interpreter instead of calling an existing script missing", async () => {
    const directory = mkdtempSync(join(tmpdir(), "agent-script-"));
    writeFileSync(join(directory, "script"), "#!/no/interpreter\n", { mode: 0o755 });
    try {
      await expect(agent.client.run({ argv: [join(directory, "script")] })).rejects.toMatchObject({
        code: "ERR_EXEC_NOT_FOUND",
        message: expect.stringContaining("interpreter"),
      });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("refuses a request with a NUL or over 1 MiB before sending it", () => {
    expect(() => agent.client.exec({ argv: ["a\0b"] })).toThrow(/NUL/);
    expect(() => agent.client.exec({ argv: ["a", "x".repeat(1 << 20)] })).toThrow(/1048576/);
    expect(() => agent.client.exec({ argv: [] })).toThrow(/program name/);
  });

  it("passes a request of hundreds of kilobytes", async () => {
    const argv = [
      "/bin/sh",
      "-c",
      "echo $#",
      "sh",
      ...Array.from({ length: 8000 }, () => "y".repeat(60)),
    ];
    const { stdout } = await agent.client.run({ argv });
    expect(stdout.toString()).toBe("8000\n");
  });

  it("feeds stdin of any size and tells its end", async () => {
    const input = Buffer.alloc(5_000_000, "0123456789abcdef");
    const { stdout } = await agent.client.run({ argv: ["cat"], input });
    expect(stdout.equals(input)).toBe(true);
  });

  it("returns stdin credit also when output was on its way first", async () => {
    const input = Buffer.alloc(600_000, "x");
    for (let round = 0; round < 40; round++) {
      const { stdout } = await agent.client.run({ argv: ["cat"], input });
      expect(stdout.length).toBe(input.length);
    }
  });

  it("reads end-of-file when no stdin is connected", async () => {
    const result = await agent.client.run({ argv: ["cat"] });
    expect(result).toMatchObject({ code: 0, stdout: Buffer.alloc(0) });
  });

  it("can signal a process that does not read its full stdin", async () => {
    const process = agent.client.exec({ argv: ["sleep", "60"], stdin: true });
    process.stdin.on("error", () => {});
    process.stdin.write(Buffer.alloc(1_000_000));
    await process.started;
    await sleep(50);
    process.signal(15);
    expect(await process.exited).toMatchObject({ code: null, signal: 15 });
  });

  it("does not fail when a process ends without reading its stdin", async () => {
    const result = await agent.client.run({ argv: ["true"], input: Buffer.alloc(3_000_000) });
    expect(result.code).toBe(0);
  });

  it("signals the whole process group", async () => {
    const process = agent.client.exec({ argv: sh("sleep 60 & sleep 60; true") });
    await process.started;
    await sleep(100);
    const before = performance.now();
    process.signal(9);
    expect(await process.exited).toMatchObject({ signal: 9 });
    expect(performance.now() - before).toBeLessThan(200);
  });

  it("kills the group when the timeout has passed", async () => {
    const result = await agent.client.run({ argv: sh("echo early; sleep 60"), timeoutMs: 200 });
    expect(result).toMatchObject({ code: null, signal: 9, timedOut: true });
    expect(result.stdout.toString()).toBe("early\n");
    expect(result.durationMs).toBeLessThan(2000);
  });

  it("kills the group when the caller aborts, and says so", async () => {
    const abort = new AbortController();
    const process = agent.client.exec({ argv: ["sleep", "61"], signal: abort.signal });
    const pid = await process.started;
    abort.abort(new Error("enough"));
    await expect(process.exited).rejects.toMatchObject({
      code: "ERR_EXEC_ABORTED",
      cause: expect.objectContaining({ message: "enough" }),
    });
    await expect.poll(() => existsSync(`/proc/${pid}`)).toBe(false);
  });

  it("does not start a process when the signal is already aborted", async () => {
    const process = agent.client.exec({ argv: ["true"], signal: AbortSignal.abort() });
    await expect(process.exited).rejects.toMatchObject({ code: "ERR_EXEC_ABORTED" });
  });

  it("leaves a `keep` process running without its connection, and its output cannot block it", async () => {
    const marker = join(mkdtempSync(join(tmpdir(), "agent-keep-")), "marker");
    const process = agent.client.exec({
      argv: sh(`sleep 0.2; head -c 3000000 /dev/zero; echo done >${marker}`),
      keep: true,
    });
    await process.started;
    process.close();
    await expect.poll(() => existsSync(marker), { timeout: 5000 }).toBe(true);
    rmSync(join(marker, ".."), { recursive: true });
  });

  it("ends the stdin of a `keep` process whose connection is lost", async () => {
    const directory = mkdtempSync(join(tmpdir(), "agent-keep-"));
    const marker = join(directory, "marker");
    const kept = agent.client.exec({
      argv: sh(`cat; echo done >${marker}`),
      keep: true,
      stdin: true,
    });
    await kept.started;
    kept.close();
    await expect.poll(() => existsSync(marker), { timeout: 5000 }).toBe(true);
    rmSync(directory, { recursive: true });
  });

  it("does not wait for a process left behind that holds the output open", async () => {
    const before = performance.now();
    const result = await agent.client.run({ argv: sh("(sleep 20; echo late) & echo early") });
    expect(result.stdout.toString()).toBe("early\n");
    expect(performance.now() - before).toBeLessThan(3000);
  });

  it("ends although a process left behind writes for ever", async () => {
    const process = agent.client.exec({ argv: sh("yes & exit 3") });
    const result = await process.output(1 << 30);
    expect(result.code).toBe(3);
  });

  it("runs on a terminal with its size, and resizes it", async () => {
    const process = agent.client.exec({
      argv: sh("stty size; tty; trap 'stty size; exit 4' WINCH; while :; do sleep 0.01; done"),
      tty: { columns: 100, rows: 30 },
    });
    let text = "";
    process.stdout.on("data", (chunk: Buffer) => {
      text += chunk;
    });
    await expect.poll(() => text).toContain("/dev/pts/");
    process.resize(120, 40);
    expect(await process.exited).toMatchObject({ code: 4 });
    expect(text).toMatch(/^30 100\r\n\/dev\/pts\/\d+\r\n40 120\r\n$/);
  });

  it("delivers control characters and end-of-file through the terminal", async () => {
    const interrupted = agent.client.exec({ argv: ["cat"], tty: true });
    await interrupted.started;
    await sleep(50);
    interrupted.stdin.write("\x03");
    interrupted.stdout.resume();
    expect(await interrupted.exited).toMatchObject({ signal: 2 });

    const ended = agent.client.exec({ argv: ["cat"], tty: true });
    await ended.started;
    ended.stdin.end("line\n");
    const { stdout, code } = await ended.output();
    expect(code).toBe(0);
    expect(stdout.toString()).toContain("line\r\nline\r\n");
  });

  it("runs 64 processes at once, each with its own output", async () => {
    const runs = Array.from({ length: 64 }, (_, index) =>
      agent.client.run({ argv: sh(`sleep 0.2; echo ${index}; cat`), input: "x".repeat(index) }),
    );
    const results = await Promise.all(runs);
    results.forEach((result, index) => {
      expect(result.stdout.toString()).toBe(`${index}\n${"x".repeat(index)}`);
    });
  });

  it("stops a process whose output is not taken, without hurting others", async () => {
    const stuck = agent.client.exec({ argv: ["yes"] });
    const pid = await stuck.started;
    await sleep(200);
    const other = await agent.client.run({ argv: ["echo", "hello"] });
    expect(other.stdout.toString()).toBe("hello\n");
    const state = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.[0];
    expect(state).toBe("S");
    stuck.close();
  });

  it("streams 100 MiB in bounded memory", async () => {
    const rss = () =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${agent.process.pid}/status`, "utf8"))?.[1]);
    const process = agent.client.exec({ argv: ["head", "-c", String(100 << 20), "/dev/zero"] });
    let size = 0;
    let peak = 0;
    const before = performance.now();
    for await (const chunk of process.stdout) {
      size += chunk.length;
      if (size % (8 << 20) < 65536) peak = Math.max(peak, rss());
    }
    const seconds = (performance.now() - before) / 1000;
    expect(await process.exited).toMatchObject({ code: 0 });
    expect(size).toBe(100 << 20);
    expect(peak).toBeLessThan(16 * 1024);
    stdout.write(`100 MiB of output: ${Math.round(100 / seconds)} MiB/s, agent RSS ${peak} KiB\n`);
  });

  it("ends a process that writes more than the caller allows", async () => {
    await expect(
      agent.client.run({ argv: ["yes"], maxOutputBytes: 1_000_000 }),
    ).rejects.toMatchObject({ code: "ERR_EXEC_OUTPUT_LIMIT" });
  });

  it("answers pings while a process is busy", async () => {
    const busy = agent.client.exec({ argv: sh("while :; do :; done") });
    await busy.started;
    expect(await agent.control.ping()).toBeLessThan(1000);
    busy.close();
  });

  it("reaps orphans", async () => {
    const { stdout } = await agent.client.run({ argv: sh("sh -c 'sleep 0.1 & echo $!' & wait") });
    const pid = Number(stdout.toString());
    await expect.poll(() => existsSync(`/proc/${pid}`)).toBe(false);
  });

  it.each([
    ["a frame type that does not exist", encodeFrame(0x7f)],
    ["a length beyond the limit", Buffer.from([0xff, 0xff, 0xff, 0xff, 0x01])],
    ["another frame before the request", encodeFrame(FrameType.STDIN, Buffer.from("x"))],
    ["a request of another version", encodeFrame(FrameType.EXEC, Buffer.from([9, 0, 0, 0]))],
    ["a request cut short", encodeFrame(FrameType.EXEC, Buffer.from([2, 0, 0, 0, 0]))],
  ])("answers %s with an error and goes on", async (_name, bytes) => {
    const stream = await agent.connector.connect(EXEC_PORT);
    const chunks: Buffer[] = [];
    stream.write(bytes);
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks)[4]).toBe(FrameType.ERROR);
    expect((await agent.client.run({ argv: ["true"] })).code).toBe(0);
  });

  it("opens a new control connection when the old one breaks", async () => {
    const second = await startNativeAgent();
    try {
      second.controls[0]?.destroy();
      await expect(second.control.ping()).rejects.toMatchObject({ code: "ERR_AGENT_GONE" });
      await expect.poll(() => second.controls.length).toBe(2);
      await expect.poll(() => second.control.ping().catch(() => undefined)).toBeGreaterThan(0);
    } finally {
      await second.close();
    }
  });
});

describe("a machine that goes back to its snapshot", () => {
  it("has its agent accepted again, and given time and entropy, when it next says hello", async () => {
    const agent = await startNativeAgent();
    try {
      const again = agent.control.acceptAgain({ timeoutMs: 5000 });
      agent.controls[0]?.destroy();
      await again;
      expect(await agent.control.ping()).toBeGreaterThan(0);
    } finally {
      await agent.close();
    }
  });

  it("is given up when its agent does not come back, or nobody waits any more", async () => {
    const agent = await startNativeAgent();
    try {
      const late = agent.control.acceptAgain({ timeoutMs: 50 });
      await expect(late).rejects.toMatchObject({ code: "ERR_AGENT_TIMEOUT" });
      const signal = AbortSignal.abort(new Error("the machine has ended"));
      const aborted = agent.control.acceptAgain({ signal });
      await expect(aborted).rejects.toMatchObject({ code: "ERR_EXEC_ABORTED" });
      expect(await agent.control.ping()).toBeGreaterThan(0);
    } finally {
      await agent.close();
    }
  });
});

describe("shutdown", () => {
  it("ends all processes with SIGTERM first, and then the agent", async () => {
    const agent = await startNativeAgent();
    try {
      const polite = agent.client.exec({
        argv: sh("trap 'echo bye; exit 0' TERM; while :; do sleep 0.01; done"),
      });
      await polite.started;
      await sleep(100);
      const output = polite.output();
      const stubborn = agent.client.exec({
        argv: sh("trap '' TERM; while :; do sleep 0.05; done"),
      });
      const pid = await stubborn.started;
      await agent.control.shutdown(500);
      expect((await output).stdout.toString()).toBe("bye\n");
      expect(existsSync(`/proc/${pid}`)).toBe(false);
      await expect(agent.client.run({ argv: ["true"] })).rejects.toMatchObject({
        code: "ERR_AGENT_GONE",
      });
    } finally {
      await agent.close();
    }
  });
});
