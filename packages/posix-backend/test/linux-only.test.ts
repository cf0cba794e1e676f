/** What other systems have no calls for. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { O_RDWR, RENAME_WHITEOUT } from "@supermachine/fuse-protocol";
import { TemporaryDirectory } from "@supermachine-internal/testing";
import { expect, test } from "vitest";
import { asRoot, Client, outcome, root } from "./client.js";

test("a temporary file has no name until it is linked", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const { backend, entry, opened } = client;
  expect(backend.tmpfile(asRoot, root, 0o600, 0, O_RDWR, entry, opened)).toBe(0);
  const { nodeid } = entry;
  client.write(opened.fh, "hidden");
  expect(client.list(root)).toEqual([]);
  expect(backend.link(asRoot, nodeid, root, "shown", entry)).toBe(0);
  expect(readFileSync(join(dir.path, "shown"), "utf8")).toBe("hidden");
});

test("a rename leaves a whiteout, which nobody can open", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  writeFileSync(join(dir.path, "b"), "B");
  const renamed = client.backend.rename(asRoot, root, "b", root, "c", RENAME_WHITEOUT);
  expect(outcome(renamed)).toBe(0);
  expect(statSync(join(dir.path, "b")).isCharacterDevice()).toBe(true);
  expect(statSync(join(dir.path, "b")).rdev).toBe(0);
});
