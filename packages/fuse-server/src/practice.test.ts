import { expect, test, vi } from "vitest";
import type { FsBackend } from "./backend.js";
import { MemoryFs } from "./memory-fs/memory-fs.js";
import { practise } from "./practice.js";

test("practice runs through the operations and leaves an empty file system", () => {
  const backend = new MemoryFs();
  const used = (
    ["lookup", "create", "write", "open", "read", "rename", "unlink", "readdir"] as const
  ).map((operation) => vi.spyOn(backend, operation));
  practise(backend);
  for (const operation of used) expect(operation).toHaveBeenCalled();
  const created = vi.mocked(backend.create).mock.results;
  expect(created.every(({ value }) => value === 0)).toBe(true);
  expect(vi.mocked(backend.unlink).mock.results.every(({ value }) => value === 0)).toBe(true);
});

test.each<[string, FsBackend]>([
  ["can do nothing", {}],
  [
    "fails",
    {
      lookup: () => {
        throw new Error("no");
      },
    },
  ],
  ["answers later", { lookup: () => new Promise(() => {}) }],
])("a backend that %s is no obstacle", (_, backend) => {
  practise(backend);
});
