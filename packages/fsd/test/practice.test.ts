import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { requireFacility } from "@supermachine-internal/testing";
import { expect } from "vitest";
import { practiseServing } from "../src/daemon/practice.js";

const PARENT = "/dev/shm";

const { test } = requireFacility("linux");

test("what a process that was killed while it practised has left is removed by the next", async () => {
  const path = join(PARENT, "supermachine-practice-0123456789ab");
  mkdirSync(path);
  // Holds its directory as one that practises does.
  const killed = spawn("flock", ["--exclusive", "--no-fork", path, "sleep", "100"]);
  const locked = () => spawn("flock", ["--exclusive", "--nonblock", path, "true"]);
  await expect.poll(async () => (await once(locked(), "exit"))[0]).toBe(1);
  practiseServing();
  expect(existsSync(path)).toBe(true);
  killed.kill("SIGKILL");
  await once(killed, "exit");
  practiseServing();
  expect(existsSync(path)).toBe(false);
});
