import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kernelCommandLine } from "../src/command-line.js";
import { encodeExecRequest } from "../src/exec-request.js";
import { encodeFrame, FrameType } from "../src/frames.js";
import { encodeStagedFiles } from "../src/staged-files.js";
import { encodeSyncRequest } from "../src/sync-request.js";

const agent = fileURLToPath(new URL("../agent", import.meta.url));
const sources = ["frame.c", "sync.c", "cmdline.c", "account.c"].map((name) => join(agent, name));

describe("the agent's parsers", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "agent-parsers-"));
  });
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });

  it("understand exactly what kernelCommandLine says, whatever the names", () => {
    const probe = join(directory, "probe");
    const source = fileURLToPath(new URL("./cmdline-probe.c", import.meta.url));
    execFileSync("gcc", ["-D_GNU_SOURCE", "-o", probe, source, join(agent, "cmdline.c")]);
    const name = fc
      .string({ minLength: 1, maxLength: 20, unit: "binary" })
      .filter((s) => !s.includes("\0"));
    const path = name.map((s) => `/${s.replaceAll("..", "__")}`).filter((s) => s !== "/");
    const share = fc.record({ tag: name, path, readOnly: fc.boolean(), dax: fc.boolean() });
    fc.assert(
      fc.property(name, fc.array(share, { maxLength: 3 }), (hostname, shares) => {
        const line = kernelCommandLine({ hostname, root: "/dev/vda", shares });
        const words = execFileSync(probe, [line]).toString("utf8").split("\0").slice(0, -1);
        const expected = shares.flatMap(({ tag, path: target, readOnly, dax }) => [
          tag,
          "virtiofs",
          target,
          [...(readOnly ? ["ro"] : []), ...(dax ? ["dax"] : [])].join(","),
        ]);
        expect(words).toEqual(["/dev/vda", hostname, ...expected].map(wellFormed));
      }),
      { numRuns: runs(100) },
    );
  });

  it("survive a fuzzer under address and undefined-behaviour sanitizers", ({ skip }) => {
    if (spawnSync("clang", ["--version"]).status !== 0) skip("clang is not installed");
    const target = join(directory, "fuzz");
    execFileSync(
      "clang",
      [
        "-D_GNU_SOURCE",
        "-g",
        "-O1",
        "-fsanitize=fuzzer,address,undefined",
        "-fno-sanitize-recover=all",
        "-o",
        target,
        join(agent, "fuzz/parsers.c"),
        ...sources,
      ],
      { stdio: "pipe" },
    );
    const corpus = join(directory, "corpus");
    mkdirSync(corpus);
    const request = encodeExecRequest({
      argv: ["sh", "-c", "x"],
      env: { A: "1" },
      cwd: "/",
      user: "a:b",
      rlimits: { nofile: 10, core: 0 },
    });
    const chain = encodeExecRequest({ commands: [["true"], ["sh", "-c", "x"]] });
    const staged = encodeStagedFiles([{ path: "/a/b", data: "x", user: "c" }]);
    const sync = encodeSyncRequest({ hostname: "box", machineId: "0".repeat(32), copy: true });
    const seeds = {
      sync: Buffer.concat([Buffer.from([3]), encodeFrame(FrameType.SYNC, sync)]),
      exec: Buffer.concat([Buffer.from([3]), encodeFrame(FrameType.EXEC, request)]),
      chain: Buffer.concat([Buffer.from([3]), encodeFrame(FrameType.EXEC, chain)]),
      staged: Buffer.concat([Buffer.from([2]), ...staged]),
      cmdline: Buffer.from(
        "\x01quiet supermachine.mount=tag:/a%20b:ro,dax supermachine.disk=/dev/vdb:ext4:/c",
      ),
      account: Buffer.from("\x05user:group\nuser:x:1:2:c:/home:/bin/sh\ngroup:x:3:user,other\n"),
    };
    for (const [name, bytes] of Object.entries(seeds)) writeFileSync(join(corpus, name), bytes);
    const run = spawnSync(
      target,
      [
        "-runs=150000",
        "-max_total_time=60",
        "-seed=1",
        "-max_len=40000",
        "-close_fd_mask=1",
        corpus,
      ],
      { cwd: directory, encoding: "utf8", timeout: 100_000 },
    );
    expect(run.stderr.split("\n").slice(-30).join("\n")).toContain("Done ");
    expect(run.status).toBe(0);
  }, 120_000);
});

/** Strings go to the guest as UTF-8, where a lone surrogate is U+FFFD. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString();
}
