import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import {
  openDescriptors,
  requireFacility,
  TemporaryDirectory,
} from "@supermachine-internal/testing";
import { afterEach, beforeEach, expect } from "vitest";
import { ScratchDirectory } from "./scratch-directory.js";

const { test } = requireFacility("linux");

let temporary: TemporaryDirectory;
beforeEach(() => {
  temporary = new TemporaryDirectory();
});
afterEach(() => temporary[Symbol.dispose]());

test("it is removed with all in it, and nothing stays open", () => {
  const before = openDescriptors();
  {
    using scratch = new ScratchDirectory(join(temporary.path, "work-"), ".tmp");
    expect(basename(scratch.path)).toMatch(/^work-[0-9a-f]{12}\.tmp$/);
    mkdirSync(join(scratch.path, "below"));
    writeFileSync(join(scratch.path, "below", "file"), "x");
  }
  expect(readdirSync(temporary.path)).toEqual([]);
  expect(openDescriptors()).toEqual(before);
});

test("what is kept stays, by whatever name", () => {
  const kept = join(temporary.path, "kept");
  {
    using scratch = new ScratchDirectory(`${kept}.`);
    renameSync(scratch.path, kept);
    scratch.keep();
  }
  expect(existsSync(kept)).toBe(true);
  ScratchDirectory.removeAbandoned(join(temporary.path, "/"));
  expect(existsSync(kept)).toBe(true);
});

test("what is in use is left alone, and so are other names", () => {
  const prefix = join(temporary.path, "work-");
  for (const name of ["work-", "work-of-another", "other-0123456789ab"]) {
    mkdirSync(join(temporary.path, name));
  }
  using first = new ScratchDirectory(prefix);
  using second = new ScratchDirectory(prefix);
  expect(existsSync(first.path)).toBe(true);
  expect(existsSync(second.path)).toBe(true);
  expect(readdirSync(temporary.path)).toHaveLength(5);
});

test("what a killed process has left is removed by the next, and by nobody while it lives", async () => {
  const prefix = join(temporary.path, "work-");
  // Holds its lock as this class does, in a process that can be killed.
  const path = `${prefix}0123456789ab`;
  mkdirSync(path);
  const holder = spawn("flock", ["--exclusive", path, "-c", "echo held; exec sleep 100"], {
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
  await once(holder.stdout, "data");
  ScratchDirectory.removeAbandoned(prefix);
  expect(existsSync(path)).toBe(true);
  // The shell below it has the lock as well.
  process.kill(-(holder.pid ?? Number.NaN), "SIGKILL");
  await once(holder, "close");
  using _ = new ScratchDirectory(prefix);
  expect(existsSync(path)).toBe(false);
});

test("a directory that cannot be made is an error, and leaves nothing", () => {
  const missing = join(temporary.path, "missing", "work-");
  expect(() => new ScratchDirectory(missing)).toThrow(expect.objectContaining({ code: "ENOENT" }));
  rmSync(temporary.path, { recursive: true });
  ScratchDirectory.removeAbandoned(missing);
});
