import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FATTR_SIZE, O_RDWR, O_TRUNC } from "@supermachine/fuse-protocol";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect } from "vitest";
import type { SymlinkPolicy } from "../src/index.js";
import { asRoot, Client, outcome, root } from "./client.js";
import { mounting } from "./mounting.js";

const DURATION_MS = 2000;

async function start(program: string, share: string, outside: string): Promise<ChildProcess> {
  const path = fileURLToPath(new URL(program, import.meta.url));
  const child = spawn(process.execPath, [path, share, outside], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (child.stdout === null) throw new Error("no stdout");
  await once(child.stdout, "data");
  return child;
}

/** Everything a client might do with the names that are being swapped. */
function attack(client: Client, tally: Map<string, number>): void {
  const { backend, entry, opened } = client;
  const count = (what: string) => tally.set(what, (tally.get(what) ?? 0) + 1);
  const inspect = (parent: number, name: string): void => {
    if (client.lookup(parent, name) !== 0) return;
    const { nodeid } = entry;
    if (backend.open(asRoot, nodeid, O_RDWR, opened, 0) === 0) {
      const { fh } = opened;
      const text = client.read(fh);
      count(`read ${text}`);
      client.write(fh, "inside");
      backend.release(asRoot, nodeid, fh);
    } else count("not opened");
    client.setattr(nodeid, { valid: FATTR_SIZE, size: 6 });
    backend.setxattr(asRoot, nodeid, "user.mark", Buffer.from("x"), 0);
    backend.forget(nodeid, 1);
  };
  inspect(root, "file");
  inspect(root, "link");
  const flags = O_RDWR | O_TRUNC;
  if (backend.create(asRoot, root, "file", 0o600, 0, flags, entry, opened, 0) === 0) {
    client.write(opened.fh, "inside");
    backend.release(asRoot, entry.nodeid, opened.fh);
    backend.forget(entry.nodeid, 1);
  }
  if (client.lookup(root, "dir") !== 0) return;
  const dir = entry.nodeid;
  inspect(dir, "file");
  const made = backend.create(asRoot, dir, "made", 0o600, 0, O_RDWR, entry, opened, 0);
  count(`create: ${made === 0 ? "done" : outcome(made)}`);
  if (made === 0) {
    client.write(opened.fh, "inside");
    backend.release(asRoot, entry.nodeid, opened.fh);
    backend.forget(entry.nodeid, 1);
  }
  if (backend.mkdir(asRoot, dir, "sub", 0o700, 0, entry) === 0) backend.forget(entry.nodeid, 1);
  backend.rmdir(asRoot, dir, "sub");
  backend.rename(asRoot, dir, "made", dir, "moved", 0);
  backend.unlink(asRoot, dir, "moved");
  if (backend.opendir(asRoot, dir, 0, opened) === 0) {
    const { fh } = opened;
    const add = (name: string) => {
      if (name === "secret") count("listed secret");
      return true;
    };
    backend.readdir(asRoot, dir, fh, 0, { add });
    backend.releasedir(asRoot, dir, fh);
  }
  backend.forget(dir, 1);
}

const { test } = requireFacility("linux");

function prepare(base: string): { share: string; outside: string; untouched: () => void } {
  const share = join(base, "share");
  const outside = join(base, "outside");
  mkdirSync(join(share, "dir"), { recursive: true });
  mkdirSync(join(share, "other"));
  mkdirSync(outside);
  for (const path of ["share/file", "share/dir/file", "share/other/file"]) {
    writeFileSync(join(base, path), "inside");
  }
  symlinkSync("dir/file", join(share, "link"));
  writeFileSync(join(outside, "file"), "CANARY");
  writeFileSync(join(outside, "secret"), "CANARY");
  const before = statSync(join(outside, "file"));
  const directoryBefore = statSync(outside);
  const untouched = () => {
    expect(readdirSync(outside).sort()).toEqual(["file", "secret"]);
    expect(readFileSync(join(outside, "file"), "utf8")).toBe("CANARY");
    expect(statSync(join(outside, "file")).ctimeMs).toBe(before.ctimeMs);
    expect(statSync(outside).ctimeMs).toBe(directoryBefore.ctimeMs);
  };
  return { share, outside, untouched };
}

/**
 * Lets the client attack for a while, during which `child` must go on; on a busy machine for longer, until each of
 * `wanted` was met more than ten times.
 */
async function attackDuring(
  child: ChildProcess,
  client: Client,
  wanted: readonly string[] = [],
): Promise<Map<string, number>> {
  const tally = new Map<string, number>();
  const isMet = () => wanted.every((what) => (tally.get(what) ?? 0) > 10);
  try {
    const start = Date.now();
    const goesOn = (ms: number) => Date.now() < start + ms;
    while (goesOn(DURATION_MS) || (goesOn(5 * DURATION_MS) && !isMet())) {
      attack(client, tally);
      expect(child.exitCode).toBe(null);
    }
  } finally {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  const seen = [...tally.keys()].sort();
  expect(seen.filter((what) => what.includes("CANARY") || what.includes("secret"))).toEqual([]);
  expect(client.backend.inodeCount).toBe(1);
  expect(client.backend.handleCount).toBe(0);
  return tally;
}

for (const symlinks of ["deny", "opaque", "follow"] satisfies SymlinkPolicy[]) {
  test(`nothing outside is touched while the host swaps names (symlinks: ${symlinks})`, async () => {
    using dir = new TemporaryDirectory();
    const { share, outside, untouched } = prepare(dir.path);
    using client = new Client(share, { symlinks });
    const both = ["read inside", "not opened", "create: done"];
    const tally = await attackDuring(await start("./swapper.mjs", share, outside), client, both);
    // Both forms were met, so that the swaps did hit.
    for (const form of both) expect(tally.get(form)).toBeGreaterThan(10);
    untouched();
  });
}

requireFacility("linux", "root", mounting).test(
  "nothing outside is touched while the host mounts and unmounts file systems inside",
  async () => {
    using dir = new TemporaryDirectory();
    const { share, outside, untouched } = prepare(dir.path);
    try {
      using client = new Client(share, { symlinks: "follow" });
      const tally = await attackDuring(await start("./mounter.mjs", share, outside), client);
      expect(tally.get("read inside")).toBeGreaterThan(10);
      expect(tally.get("create: done")).toBeGreaterThan(10);
      untouched();
    } finally {
      while (spawnSync("umount", ["--lazy", join(share, "dir")]).status === 0);
    }
  },
);
