import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SnapshotStore } from "./snapshot-store.js";

let directory: string;
let store: SnapshotStore;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "snapshots-"));
  store = new SnapshotStore(join(directory, "store"));
});
afterAll(() => rmSync(directory, { recursive: true }));

test("names are those of files, and no paths", async () => {
  for (const name of ["", ".", "..", "a/b", "-x", "x.tmp", "x".repeat(64), "a b"]) {
    await expect(store.pathFor(name)).rejects.toMatchObject({ code: "ERR_OPTION" });
    await expect(store.find(name)).rejects.toMatchObject({ code: "ERR_OPTION" });
  }
});

test("a snapshot is found by name until it is removed; a damaged one is listed as such", async () => {
  expect(await store.list()).toEqual([]);
  await expect(store.find("warm")).rejects.toMatchObject({ code: "ERR_SNAPSHOT_NOT_FOUND" });
  const path = await store.pathFor("warm");
  mkdirSync(path);
  writeFileSync(join(path, "machine"), "no snapshot");
  expect(await store.find("warm")).toBe(path);
  expect(await store.list()).toMatchObject([{ name: "warm", image: "(ERR_SNAPSHOT_FORMAT)" }]);
  await store.remove("warm");
  expect(await store.list()).toEqual([]);
  await expect(store.remove("warm")).rejects.toMatchObject({ code: "ERR_SNAPSHOT_NOT_FOUND" });
});

test("what a killed process has left is removed after a while", async () => {
  const [old, fresh] = ["old.0123.tmp", "fresh.0123.tmp"];
  for (const name of [old, fresh]) mkdirSync(join(store.directory, name));
  utimesSync(join(store.directory, old), 0, 0);
  await store.pathFor("next");
  expect(readdirSync(store.directory)).toEqual([fresh]);
  expect(await store.list()).toEqual([]);
});
