import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect } from "vitest";

const agent = fileURLToPath(new URL("../agent", import.meta.url));
const { test } = requireFacility("program:clang");

test("the agent's tar parser survives a fuzzer under sanitizers, and understands what it writes", () => {
  using directory = new TemporaryDirectory();
  const target = join(directory.path, "fuzz");
  const sanitizers = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"];
  const sources = [join(agent, "fuzz/tar.c"), join(agent, "tar.c")];
  execFileSync("clang", ["-D_GNU_SOURCE", "-g", "-O1", ...sanitizers, "-o", target, ...sources], {
    stdio: "pipe",
  });
  const corpus = join(directory.path, "corpus");
  const tree = join(directory.path, "tree");
  for (const path of [corpus, tree]) mkdirSync(path);
  writeFileSync(join(tree, "file"), "content");
  writeFileSync(join(tree, "n".repeat(150)), "x");
  symlinkSync("l".repeat(150), join(tree, "link"));
  for (const format of ["gnu", "posix", "ustar"]) {
    const archive = join(corpus, format);
    const few = format === "ustar" ? "file" : ".";
    execFileSync("tar", [`--format=${format}`, "-b1", "-cf", archive, "-C", tree, few]);
  }
  const run = spawnSync(
    target,
    ["-runs=100000", "-max_total_time=40", "-seed=1", "-max_len=8192", corpus],
    { cwd: directory.path, encoding: "utf8", timeout: 100_000 },
  );
  expect(run.stderr.split("\n").slice(-30).join("\n")).toContain("Done ");
  expect(run.status).toBe(0);
}, 120_000);
