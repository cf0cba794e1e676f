import { MemoryFs, practise } from "@supermachine/fuse-server";
import { expect, test, vi } from "vitest";
import { PracticeQueue } from "./practice-queue.js";

test("requests come through the queue and are answered as without it", () => {
  const backend = new MemoryFs();
  const used = (["create", "write", "rename", "unlink", "readdir", "readdirplus"] as const).map(
    (operation) => vi.spyOn(backend, operation),
  );
  practise(backend, {}, (session) => new PracticeQueue(session));
  for (const operation of used) {
    const outcomes = new Set(operation.mock.results.map(({ value }) => value));
    expect([...outcomes]).toEqual(operation === used[1] ? [1024] : [0]);
  }
});
