import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { encodeExecRequest } from "../src/exec-request.js";
import { EXEC_PORT, encodeFrame, FrameType } from "../src/frames.js";
import { AgentClient } from "../src/index.js";
import { encodeStagedFiles } from "../src/staged-files.js";
import { type NativeAgent, startNativeAgent } from "./native-agent.js";

const sh = (script: string) => ["/bin/sh", "-c", script];

let agent: NativeAgent;
let directory: string;
beforeAll(async () => {
  agent = await startNativeAgent();
});
afterAll(() => agent.close());
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "agent-requests-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

describe("a chain of commands", () => {
  it("returns a result for each, with its own output", async () => {
    const results = await agent.client.runChain({
      commands: [sh("echo one; echo uno >&2"), ["true"], sh("echo three; exit 0")],
      cwd: directory,
    });
    expect(results.map(({ stdout, stderr, code }) => [`${stdout}`, `${stderr}`, code])).toEqual([
      ["one\n", "uno\n", 0],
      ["", "", 0],
      ["three\n", "", 0],
    ]);
    for (const { peakRssKiB } of results) expect(peakRssKiB).toBeGreaterThan(300);
  });

  it("stops at the first failure", async () => {
    const marker = join(directory, "marker");
    const results = await agent.client.runChain({
      commands: [["true"], sh("echo no >&2; exit 3"), ["touch", marker]],
    });
    expect(results.map(({ code }) => code)).toEqual([0, 3]);
    expect(readdirSync(directory)).toEqual([]);
  });

  it("stops at a command that a signal ends, and when its time is over", async () => {
    const killed = await agent.client.runChain({ commands: [sh("kill -9 $$"), ["true"]] });
    expect(killed).toMatchObject([{ code: null, signal: 9, timedOut: false }]);
    const late = await agent.client.runChain({
      commands: [["true"], ["sleep", "60"], ["true"]],
      timeoutMs: 300,
    });
    expect(late).toMatchObject([{ code: 0 }, { signal: 9, timedOut: true }]);
  });

  it("counts the time of all commands together", async () => {
    const results = await agent.client.runChain({
      commands: Array.from({ length: 10 }, () => ["sleep", "0.2"]),
      timeoutMs: 500,
    });
    expect(results.length).toBeGreaterThanOrEqual(2);
    expect(results.length).toBeLessThanOrEqual(4);
    expect(results.at(-1)).toMatchObject({ timedOut: true });
  });

  it("says which program is missing", async () => {
    await expect(
      agent.client.runChain({ commands: [["true"], ["no-such-program"]] }),
    ).rejects.toMatchObject({
      code: "ERR_EXEC_NOT_FOUND",
      message: expect.stringContaining("no-such-program"),
    });
  });

  it("runs 256 commands, and refuses one more", async () => {
    const commands = Array.from({ length: 256 }, (_, index) => ["echo", `${index}`]);
    const results = await agent.client.runChain({ commands });
    expect(results.map(({ stdout }) => Number(`${stdout}`))).toEqual(commands.map((_, i) => i));
    const more = agent.client.runChain({ commands: [...commands, ["true"]] });
    await expect(more).rejects.toMatchObject({ code: "ERR_EXEC_INVALID" });
  });

  it("passes megabytes of output of each command on", async () => {
    const commands = [1, 2, 3].map((n) => sh(`head -c ${n}000000 /dev/zero`));
    const results = await agent.client.runChain({ commands });
    expect(results.map(({ stdout }) => stdout.length)).toEqual([1_000_000, 2_000_000, 3_000_000]);
  });
});

describe("staged files", () => {
  it("are there when the program starts, with content, mode and owner", async () => {
    const big = Buffer.alloc(3_000_000, "0123456789");
    const result = await agent.client.run({
      argv: sh("cat a/b/script; stat -c '%a %U' a/b/script; wc -c < big"),
      cwd: directory,
      stageFiles: [
        { path: join(directory, "a/b/script"), data: "häh\n", mode: 0o4755 },
        { path: join(directory, "big"), data: big },
        { path: join(directory, "empty"), data: "" },
      ],
    });
    expect(result.stdout.toString()).toBe("häh\n4755 root\n3000000\n");
    expect(readFileSync(join(directory, "big")).equals(big)).toBe(true);
    expect(statSync(join(directory, "empty")).size).toBe(0);
    expect(readdirSync(directory).sort()).toEqual(["a", "big", "empty"]);
  });

  it("may be the program itself, and stdin follows them", async () => {
    const path = join(directory, "program");
    const result = await agent.client.run({
      argv: [path, "x"],
      input: Buffer.alloc(1_000_000, "i"),
      stageFiles: [
        { path, data: "#!/bin/sh\nwc -c\necho $1\n", mode: 0o755 },
        { path: join(directory, "more"), data: Buffer.alloc(400_000) },
      ],
    });
    expect(result.stdout.toString()).toBe("1000000\nx\n");
  });

  it("are written with the rights of their user", async () => {
    const denied = agent.client.run({
      argv: ["true"],
      stageFiles: [{ path: "/etc/denied", data: "x", user: "daemon" }],
    });
    await expect(denied).rejects.toMatchObject({ code: "ERR_EXEC_FILE", errno: 13 });
    mkdirSync(join(directory, "open"), { mode: 0o777 });
    const { stdout } = await agent.client.run({
      argv: sh(`chmod 777 ${directory} ${directory}/open; stat -c %U:%G ${directory}/of-root`),
      user: "root",
      stageFiles: [{ path: join(directory, "of-root"), data: "x" }],
    });
    expect(stdout.toString()).toBe("root:root\n");
    const owned = await agent.client.run({
      argv: ["stat", "-c", "%U:%G", join(directory, "open/file")],
      user: "daemon",
      stageFiles: [{ path: join(directory, "open/file"), data: "x" }],
    });
    expect(owned.stdout.toString()).toBe("daemon:daemon\n");
  });

  it.each([
    ["onto a directory", "taken", 21],
    ["below a file", "file/below", 20],
    ["where nothing can be made", "../../proc/no/such", 2],
  ])("%s end the request with an error, and nothing runs", async (_name, name, errno) => {
    mkdirSync(join(directory, "taken"));
    const stageFiles = [
      { path: join(directory, "file"), data: "x" },
      { path: join(directory, name), data: "content" },
    ];
    const run = agent.client.run({ argv: ["touch", join(directory, "ran")], stageFiles });
    await expect(run).rejects.toMatchObject({ code: "ERR_EXEC_FILE", errno });
    expect(readdirSync(directory)).toEqual(["file", "taken"]);
  });

  it("leave nothing behind when their connection is lost half-way", async () => {
    const [head = new Uint8Array(), data = new Uint8Array()] = encodeStagedFiles([
      { path: join(directory, "half"), data: Buffer.alloc(100_000) },
    ]);
    const argv = ["touch", join(directory, "ran")];
    const request = encodeExecRequest({ argv, keep: true }, head.length + data.length);
    const stream = await agent.connector.connect(EXEC_PORT);
    stream.write(encodeFrame(FrameType.EXEC, request));
    stream.write(encodeFrame(FrameType.STAGE, head));
    stream.write(encodeFrame(FrameType.STAGE, data.subarray(0, 50_000)));
    await once(stream, "data");
    stream.destroy();
    expect((await agent.client.run({ argv: ["true"] })).code).toBe(0);
    await sleep(200);
    expect(readdirSync(directory)).toEqual([]);
  });

  it("replace the file that a symbolic link leads to", async () => {
    const link = join(directory, "link");
    symlinkSync("file", link);
    writeFileSync(join(directory, "file"), "old");
    const stageFiles = [{ path: link, data: "new" }];
    const { stdout } = await agent.client.run({
      argv: ["cat", "file"],
      cwd: directory,
      stageFiles,
    });
    expect(stdout.toString()).toBe("new");
    expect(readdirSync(directory)).toEqual(["file", "link"]);
  });

  it("that fill the disk end the request, and take no space", async () => {
    const disk = join(directory, "disk");
    mkdirSync(disk);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]);
    try {
      const stageFiles = [{ path: join(disk, "big"), data: Buffer.alloc(4 << 20) }];
      await expect(agent.client.run({ argv: ["true"], stageFiles })).rejects.toMatchObject({
        code: "ERR_EXEC_FILE",
        errno: 28,
      });
      expect(readdirSync(disk)).toEqual([]);
    } finally {
      execFileSync("umount", [disk]);
    }
  });
});

it.each([
  [{ nofile: 123 }, "ulimit -n; ulimit -Hn", "123\n123\n"],
  [{ nofile: { soft: 50, hard: 60 } }, "ulimit -n; ulimit -Hn", "50\n60\n"],
  [{ core: 0, fsize: 1 << 20, cpu: 7 }, "ulimit -c; ulimit -f; ulimit -t", "0\n2048\n7\n"],
  [{ core: Number.POSITIVE_INFINITY }, "ulimit -c", "unlimited\n"],
])("the limits %j hold for the process", async (rlimits, script, expected) => {
  const { stdout } = await agent.client.run({ argv: sh(script), rlimits, user: "daemon" });
  expect(stdout.toString()).toBe(expected);
});

it("a user with as many processes as allowed gets no further one", async () => {
  const forks = sh("for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait");
  const result = await agent.client.run({ argv: forks, rlimits: { nproc: 3 }, user: "54321" });
  expect(result.code).not.toBe(0);
  expect(result.stderr.toString()).toMatch(/fork/i);
});

describe("what cannot be asked", () => {
  it.each([
    ["10 MiB of arguments", { argv: ["true", "x".repeat(10 << 20)] }],
    ["an unknown limit", { argv: ["true"], rlimits: { files: 1 } as object }],
    ["a limit below zero", { argv: ["true"], rlimits: { nofile: -1 } }],
    ["a soft limit above the hard one", { argv: ["true"], rlimits: { as: { soft: 2, hard: 1 } } }],
    ["a relative path", { argv: ["true"], stageFiles: [{ path: "a", data: "" }] }],
    ["a path with a NUL", { argv: ["true"], stageFiles: [{ path: "/a\0b", data: "" }] }],
    [
      "permission bits beyond 07777",
      { argv: ["true"], stageFiles: [{ path: "/a", data: "", mode: 1 << 15 }] },
    ],
  ])("%s is refused before it is sent", (_name, request) => {
    expect(() => agent.client.exec(request)).toThrow(
      expect.objectContaining({ code: "ERR_EXEC_INVALID" }),
    );
  });

  it("one argument longer than the kernel takes is an invalid request, too", async () => {
    await expect(agent.client.run({ argv: ["true", "x".repeat(200_000)] })).rejects.toMatchObject({
      code: "ERR_EXEC_INVALID",
      errno: 7,
    });
  });
});

describe("an agent that does not answer", () => {
  const impatient = { answerTimeoutMs: 600 };
  let stuck: NativeAgent;
  beforeEach(async () => {
    stuck = await startNativeAgent();
  });
  afterEach(() => stuck.close());

  it("is given up, whether a process runs or is only asked for", async () => {
    const client = new AgentClient(stuck.connector, impatient);
    const process = client.exec({ argv: ["sleep", "60"] });
    await process.started;
    stuck.process.kill("SIGSTOP");
    const before = performance.now();
    const late = { code: "ERR_AGENT_TIMEOUT" };
    await Promise.all([
      expect(process.exited).rejects.toMatchObject(late),
      expect(client.run({ argv: ["true"] })).rejects.toMatchObject(late),
      expect(client.runChain({ commands: [["true"]] })).rejects.toMatchObject(late),
    ]);
    expect(performance.now() - before).toBeLessThan(3000);
    stuck.process.kill("SIGCONT");
  });

  it("is waited for while its machine is paused", async () => {
    let paused = true;
    const client = new AgentClient(stuck.connector, {
      answerTimeoutMs: 150,
      isPaused: () => paused,
    });
    const process = client.exec({ argv: sh("sleep 0.3; echo done"), timeoutMs: 5000 });
    const output = process.output();
    await process.started;
    stuck.process.kill("SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, 1000));
    stuck.process.kill("SIGCONT");
    paused = false;
    expect((await output).stdout.toString()).toBe("done\n");
  });

  it("is not suspected when nobody reads the output, or a process is quiet", async () => {
    const client = new AgentClient(stuck.connector, impatient);
    const unread = client.exec({ argv: sh("head -c 3000000 /dev/zero; sleep 1.5") });
    const quiet = client.run({ argv: ["sleep", "2"] });
    expect(await quiet).toMatchObject({ code: 0 });
    expect((await unread.output()).stdout.length).toBe(3_000_000);
  });

  it("is not blamed for a host that slept or was busy for long", async () => {
    const client = new AgentClient(stuck.connector, impatient);
    const process = client.exec({ argv: sh("sleep 0.2; echo done"), timeoutMs: 60_000 });
    const output = process.output();
    await process.started;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000);
    expect((await output).stdout.toString()).toBe("done\n");
  });

  it("is given up also when the connection is never accepted", async () => {
    const client = new AgentClient({ connect: () => new Promise(() => {}) }, impatient);
    await expect(client.run({ argv: ["true"] })).rejects.toMatchObject({
      code: "ERR_AGENT_TIMEOUT",
    });
  });
});

it("many requests at once hold up nobody, whatever some of them do", async () => {
  const unread = Array.from({ length: 16 }, () => agent.client.exec({ argv: ["yes"] }));
  const results = await Promise.all(
    Array.from({ length: 64 }, (_, index) =>
      agent.client.run({ argv: ["cat"], input: Buffer.alloc(300_000, `${index % 10}`) }),
    ),
  );
  results.forEach(({ stdout }, index) => {
    expect(stdout.equals(Buffer.alloc(300_000, `${index % 10}`))).toBe(true);
  });
  for (const process of unread) process.close();
});

it("a thousand requests at once take their turns and leave nothing open", async () => {
  const open = () => readdirSync(`/proc/${agent.process.pid}/fd`).length;
  await expect.poll(open, { interval: 100 }).toBeLessThan(20);
  const before = open();
  const runs = Array.from({ length: 1000 }, (_, index) =>
    agent.client.run({ argv: ["/bin/echo", `${index}`] }),
  );
  const outputs = await Promise.all(runs);
  expect(outputs.map(({ stdout }) => Number(`${stdout}`))).toEqual(runs.map((_, index) => index));
  await expect.poll(open, { interval: 100 }).toBe(before);
});

describe("foreign bytes", () => {
  /** Sends bytes as an exec connection and returns the types of the frames that come back. */
  async function answer(bytes: Buffer): Promise<number[]> {
    const stream = await agent.connector.connect(EXEC_PORT);
    const chunks: Buffer[] = [];
    stream.write(bytes);
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    const reply = Buffer.concat(chunks);
    const types: number[] = [];
    for (let at = 0; at < reply.length; at += 5 + reply.readUInt32LE(at)) {
      types.push(reply.readUInt8(at + 4));
    }
    return types;
  }

  it("changed anywhere in a request end in an error or a process, and the agent goes on", async () => {
    const staged = Buffer.concat(encodeStagedFiles([{ path: join(directory, "f"), data: "xyz" }]));
    const request = encodeExecRequest(
      { commands: [["true"], ["true", "a"]], env: { A: "1" }, rlimits: { core: 0, nofile: 99 } },
      staged.length,
    );
    // Beyond the counts and limits strings begin, which may be anything.
    const place = fc.nat({ max: 40 + 48 + 8 - 1 }).filter((at) => at < 8 || at > 11);
    await fc.assert(
      fc.asyncProperty(place, fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const changed = Buffer.from(request);
        changed[at] = (changed[at] ?? 0) ^ change;
        const bytes = Buffer.concat([
          encodeFrame(FrameType.EXEC, changed),
          encodeFrame(FrameType.STAGE, staged),
          encodeFrame(FrameType.STDIN_CLOSE),
        ]);
        const types = await answer(bytes);
        expect([FrameType.ERROR, FrameType.EXIT]).toContain(types.at(-1));
      }),
      { numRuns: runs(150) },
    );
    expect((await agent.client.run({ argv: ["true"] })).code).toBe(0);
  });

  it("in place of staged files write nothing", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (junk) => {
        const request = encodeExecRequest({ argv: ["true"], cwd: directory }, junk.length);
        const types = await answer(
          Buffer.concat([encodeFrame(FrameType.EXEC, request), encodeFrame(FrameType.STAGE, junk)]),
        );
        expect(types.at(-1)).toBe(FrameType.ERROR);
      }),
      { numRuns: runs(100) },
    );
  });

  it.each([
    ["more staged bytes than announced", 3, [FrameType.STAGE, 4]],
    ["stdin before the staged files", 3, [FrameType.STDIN, 1]],
    ["the end of stdin before the staged files", 3, [FrameType.STDIN_CLOSE, 0]],
  ] as const)("%s are an error", async (_name, announced, [type, length]) => {
    const request = encodeExecRequest({ argv: ["true"], stdin: true }, announced);
    const frames = [encodeFrame(FrameType.EXEC, request), encodeFrame(type, Buffer.alloc(length))];
    expect((await answer(Buffer.concat(frames))).at(-1)).toBe(FrameType.ERROR);
  });
});
