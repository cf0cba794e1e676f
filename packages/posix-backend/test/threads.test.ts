import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { openDescriptors, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect, test } from "vitest";
// Threads run built code, so all of it does here.
import { SharedPosixShare } from "../dist/index.js";

test("threads that look up, open and forget the same nodes agree, and leave nothing", async () => {
  using dir = new TemporaryDirectory();
  const names = Array.from({ length: 50 }, (_, i) => `file-${i}`);
  for (const name of names) writeFileSync(join(dir.path, name), name);
  const before = openDescriptors();
  {
    // So few fds that nodes are reopened all the time.
    using share = new SharedPosixShare(dir.path, { threads: 3, maxFds: 64 });
    const workers = Array.from({ length: 3 }, () => {
      const workerData = { data: share.data, names, rounds: 100 };
      return new Worker(new URL("thread-client.mjs", import.meta.url), {
        workerData,
        execArgv: [],
      });
    });
    const ended = workers.map((worker) => once(worker, "exit"));
    const done = await Promise.all(workers.map((worker) => once(worker, "message")));
    await Promise.all(ended);
    expect(done.map(([operations]) => operations)).toEqual([30_000, 30_000, 30_000]);
    expect(share.inodeCount).toBe(1);
    expect(share.handleCount).toBe(0);
  }
  expect(openDescriptors()).toEqual(before);
});
