import { statSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TemporaryDirectory } from "@supermachine-internal/testing";
import { expect, test } from "vitest";
import { asRoot, Client, outcome, root } from "./client.js";

test("readdir resumes after the last record, in any chunking", () => {
  using dir = new TemporaryDirectory();
  const names = Array.from({ length: 2000 }, (_, i) => `file-${i}`);
  for (const name of names) writeFileSync(join(dir.path, name), "");
  using client = new Client(dir.path);
  expect(client.list(root).sort()).toEqual([...names].sort());
  expect(client.list(root, 7).sort()).toEqual([...names].sort());
});

test("readdir stays right while listed names are removed", () => {
  using dir = new TemporaryDirectory();
  for (let i = 0; i < 3000; i++) writeFileSync(join(dir.path, `file-${i}`), "");
  using client = new Client(dir.path);
  const { backend, opened } = client;
  backend.opendir(asRoot, root, 0, opened);
  const { fh } = opened;
  let offset = 0;
  const seen: string[] = [];
  for (;;) {
    const batch: string[] = [];
    const add = (name: string, _ino: number, _type: number, next: number): boolean => {
      if (batch.length === 11) return false;
      batch.push(name);
      offset = next;
      return true;
    };
    backend.readdir(asRoot, root, fh, offset, { add });
    if (batch.length === 0) break;
    for (const name of batch) {
      if (name === "." || name === "..") continue;
      seen.push(name);
      unlinkSync(join(dir.path, name));
    }
  }
  expect(seen.length).toBe(3000);
  expect(new Set(seen).size).toBe(3000);
});

test("readdir goes back to an earlier cookie", () => {
  using dir = new TemporaryDirectory();
  for (let i = 0; i < 500; i++) writeFileSync(join(dir.path, `file-${i}`), "");
  using client = new Client(dir.path);
  const { backend, opened } = client;
  backend.opendir(asRoot, root, 0, opened);
  const listing: { name: string; next: number }[] = [];
  const list = (offset: number) => {
    listing.length = 0;
    const add = (name: string, _ino: number, _type: number, next: number) => {
      listing.push({ name, next });
      return true;
    };
    expect(outcome(backend.readdir(asRoot, root, opened.fh, offset, { add }))).toBe(0);
    return listing.slice();
  };
  const all = list(0);
  const middle = all[250];
  expect(list(middle?.next ?? 0).map((record) => record.name)).toEqual(
    all.slice(251).map((record) => record.name),
  );
  // Nobody was given this one. Some file systems can tell, on others it is behind the last record.
  const unknown: string[] = [];
  const add = (name: string) => unknown.push(name) > 0;
  const result = outcome(backend.readdir(asRoot, root, opened.fh, 2 ** 53 - 1, { add }));
  expect([0, "EINVAL"]).toContain(result);
  expect(unknown).toEqual([]);
});

test("readdirplus counts a lookup for each record that fits, and for no other", () => {
  using dir = new TemporaryDirectory();
  for (let i = 0; i < 20; i++) writeFileSync(join(dir.path, `file-${i}`), "");
  using client = new Client(dir.path);
  const found = client.listPlus(root, 10);
  const nodes = [...found.values()].filter((nodeid) => nodeid !== 0);
  expect(client.backend.inodeCount).toBe(1 + nodes.length);
  for (const nodeid of nodes) client.backend.forget(nodeid, 1);
  expect(client.backend.inodeCount).toBe(1);
  expect(client.listPlus(root, 100).size).toBe(22);
});

test("`..` of the root does not show what is outside", () => {
  using dir = new TemporaryDirectory();
  using client = new Client(dir.path);
  const { backend, opened } = client;
  backend.opendir(asRoot, root, 0, opened);
  const inos = new Map<string, number>();
  const add = (name: string, ino: number) => inos.set(name, ino).size > 0;
  backend.readdir(asRoot, root, opened.fh, 0, { add });
  expect(inos.get("..")).toBe(statSync(dir.path).ino);
});
